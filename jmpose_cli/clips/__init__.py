"""One clip that is done: the files of its folder, its truth checked, corrected and rendered."""

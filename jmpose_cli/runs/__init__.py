"""Many videos: found, planned, given to workers, recorded; stopped and resumed."""

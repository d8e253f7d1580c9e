"""One video: its stages, what is kept of them to resume, and the files that come of it."""

"""JM-Pose networks."""

"""Videos from start to end."""

"""Models that are known by name: what they are, where they come from, where they lie on this machine."""

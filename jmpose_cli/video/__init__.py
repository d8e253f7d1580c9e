"""Frames in, overlay out."""

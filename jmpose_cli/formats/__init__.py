"""Annotation files: read and write."""

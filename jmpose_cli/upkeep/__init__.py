"""The tool itself: what works on a machine, which models there are."""

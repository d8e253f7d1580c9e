"""Training and validation data: annotated pictures and videos in, windows of person crops out."""

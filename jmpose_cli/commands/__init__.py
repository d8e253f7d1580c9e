"""One file a command: options to config to one call."""

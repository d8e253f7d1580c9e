"""Poses for other tools: every format that `jmpose convert` writes, and the command itself."""

"""Ends the program on systems that it does not run on, before modules are imported that are missing there."""

import os
import sys

if os.name != "posix":
    print("error: jmpose runs on Linux and other POSIX systems; on Windows, use WSL or a container", file=sys.stderr)
    sys.exit(2)

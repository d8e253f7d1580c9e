"""A bounded ring of frames in memory that two processes share.

The memory has no name in any file system: it is gone with the last process that holds it, however that one ends,
and it is not limited by the size of `/dev/shm` (64 MB in many containers).
"""

import mmap
import os
import resource
import tempfile

import numpy as np

from jmpose_cli.values import Bytes

RING_BYTES = 64 * 2**20
FEWEST_SLOTS = 4
MOST_SLOTS = 512


def create_memory() -> int:
    """Return the file descriptor of new, empty, nameless shared memory; the caller closes it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("jmpose-frames", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(prefix="jmpose-frames-") as file:
        return os.dup(file.fileno())


def count_slots(frame_bytes: int) -> int:
    """Return how many frames of this size the ring holds: what fits in 64 MiB and `ulimit -f`, but 4 at least."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_FSIZE)  # holds for nameless memory too; the same in both processes
    most_bytes = RING_BYTES if allowed == resource.RLIM_INFINITY else min(RING_BYTES, allowed)
    return min(MOST_SLOTS, max(FEWEST_SLOTS, most_bytes // frame_bytes))


class FrameRing:
    """Frames of one size in shared memory, addressed by a running count.

    Args:
        descriptor: From `create_memory`; it is grown to the size needed and stays open.
        height: Frame height in pixels.
        width: Frame width in pixels.
    """

    def __init__(self, descriptor: int, *, height: int, width: int) -> None:
        self.slots = count_slots(height * width * 3)
        size = self.slots * height * width * 3
        if os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
        self._frames = np.frombuffer(mmap.mmap(descriptor, size), np.uint8).reshape(self.slots, height, width, 3)

    def slot(self, count: int) -> Bytes:
        """Return the writable view `[H, W, 3]` uint8 that the frame number `count` of this ring lives in."""
        view: Bytes = self._frames[count % self.slots]
        return view

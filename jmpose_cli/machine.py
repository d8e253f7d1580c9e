"""What a machine lacks or forbids, told from the errors of libraries: missing shared objects, and limits of the shell.

Such errors say nothing of the file at hand, and next to nothing to most people: `libGL.so.1: cannot open shared object
file` wants a Debian package, `failed to map segment from shared object` a higher `ulimit -v`.
"""

import re
import resource
from collections.abc import Callable, Iterator

from jmpose_cli.errors import JmposeError

_GLIB = "libglib2.0-0t64"
_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libglib-2.0.so.0": _GLIB,
    "libgthread-2.0.so.0": _GLIB,
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libxcb.so.1": "libxcb1",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libz.so.1": "zlib1g",
    "libbz2.so.1.0": "libbz2-1.0",
    "liblzma.so.5": "liblzma5",
    "libffi.so.8": "libffi8",
    "libnuma.so.1": "libnuma1",
}
"""Debian's package of a shared object that libraries of ours expect of the system."""
_OF_OPENCV = frozenset({"libGL.so.1", "libEGL.so.1", "libglib-2.0.so.0", "libgthread-2.0.so.0"}) | frozenset(
    {"libSM.so.6", "libICE.so.6", "libX11.so.6", "libXext.so.6", "libXrender.so.1", "libxcb.so.1"}
)
_HEADLESS = (
    "pip uninstall -y opencv-python && pip install --force-reinstall --no-deps opencv-python-headless, "
    "which needs none of them"
)

_MISSING = re.compile(r"([\w.+-]+\.so[\w.]*): cannot open shared object file")
_UNMAPPED = re.compile(r"([\w.+-]+\.so[\w.]*): (?:failed to map segment|cannot (?:allocate|map))")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_NO_MEMORY = re.compile(
    r"MemoryError|[Cc]annot allocate memory|can't allocate memory|bad_alloc|Unable to allocate|not enough memory"
)
_NO_THREAD = re.compile(r"can't start new thread|pthread_create failed|Resource temporarily unavailable")
_NO_FILE = re.compile(r"Too many open files")
_TOO_LARGE = re.compile(r"File too large")


def explain(error: BaseException | str) -> JmposeError | None:
    """Say what is the matter with the machine; None when the error does not show that.

    Args:
        error: An error, whose causes count too, or the last words of a process.
    """
    for text in [error] if isinstance(error, str) else _texts(error):
        for pattern, said in _RULES:
            found = pattern.search(text)
            if found:
                return said(found)
    return None


def _texts(error: BaseException) -> Iterator[str]:
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield f"{type(cause).__name__}: {cause}"
        cause = cause.__cause__ or cause.__context__


def _missing(found: re.Match[str]) -> JmposeError:
    name = found[1]
    package = _PACKAGES.get(name)
    message = f"{name}, a library of the system, is missing"
    if name in _OF_OPENCV:
        apt = f"on Debian and Ubuntu: apt-get install libgl1 {_GLIB} (libglib2.0-0 before Debian 13 and Ubuntu 24.04)"
        also = "" if package in ("libgl1", _GLIB) else f" {package}"
        return JmposeError(f"{message}; OpenCV needs it", hint=f"{apt}{also}; or take {_HEADLESS}")
    if name.startswith("libcuda.so"):
        return JmposeError(message, hint="it comes with the NVIDIA driver; see nvidia-smi")
    if package:
        return JmposeError(message, hint=f"on Debian and Ubuntu: apt-get install {package}")
    return JmposeError(message, hint=f"find its package: apt-file search {name}, or dnf provides '*/{name}'")


def _no_module(found: re.Match[str]) -> JmposeError:
    return JmposeError(
        f"the Python package {found[1].partition('.')[0]} is missing",
        hint="install jmpose again: pip install --force-reinstall jmpose; `jmpose doctor` says what else is missing",
    )


def _unmapped(found: re.Match[str]) -> JmposeError:
    return _memory(f"there is too little memory to load {found[1]}")


def _no_memory(_: re.Match[str]) -> JmposeError:
    return _memory("out of memory")


def _memory(message: str) -> JmposeError:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return JmposeError(message, hint="give fewer --workers, or free some memory")
    allowed = f"{message}: a process may have {_size(limit)} of address space (ulimit -v {limit // 1024})"
    return JmposeError(allowed, hint="raise this limit, ulimit -v unlimited; 8 GB are enough for the shipped models")


def _no_thread(_: re.Match[str]) -> JmposeError:
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return _memory("there is too little memory to start a thread")
    limit, _hard = resource.getrlimit(resource.RLIMIT_NPROC)
    allowed = "" if limit == resource.RLIM_INFINITY else f": this user may have {limit} (ulimit -u)"
    return JmposeError(
        f"no more processes or threads can be started{allowed}",
        hint="raise this limit (ulimit -u, or the container's number of processes), or give fewer --workers",
    )


def _no_file(_: re.Match[str]) -> JmposeError:
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return JmposeError(
        f"no more files can be opened: a process may have {limit} (ulimit -n)",
        hint="raise this limit, such as ulimit -n 1024, or give fewer --workers",
    )


def _too_large(_: re.Match[str]) -> JmposeError:
    limit, _hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return JmposeError("a file is larger than its disk allows", hint="choose a folder on another disk with --out")
    return JmposeError(
        f"a file, or the memory that two processes share, would be larger than the {_size(limit)} that are allowed "
        "here (ulimit -f)",
        hint="raise this limit: ulimit -f unlimited",
    )


def _size(count: int) -> str:
    return f"{count / 10**9:.1f} GB" if count >= 10**9 else f"{count / 10**6:.1f} MB"


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], JmposeError]], ...] = (
    (_MISSING, _missing),
    (_UNMAPPED, _unmapped),
    (_NO_MODULE, _no_module),
    (_NO_MEMORY, _no_memory),
    (_NO_THREAD, _no_thread),
    (_NO_FILE, _no_file),
    (_TOO_LARGE, _too_large),
)

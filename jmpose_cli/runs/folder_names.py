"""Names of folders of results: one safe name for whatever an input is called."""

import hashlib
import unicodedata

from jmpose_cli.clips.layout import FAILURES_FILE, RESULT_FILES, SUMMARY_FILE

_LONGEST_BYTES = 240  # file systems take 255; a number may be appended
_DIGITS = 6
_TURNING = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # lines and their direction


def safe_name(name: str) -> str:
    """Return the folder for a path with `/`: each part is safe, and the whole is never empty.

    A part that is safe stays as it is. Any other is changed and gets the beginning of its checksum, so that it is the
    same in every run and equals that of no other input.
    """
    parts = [part for part in name.split("/") if part]
    return "/".join(map(_safe_part, parts)) or _safe_part("")


def comparable(name: str) -> str:
    """Return a key that is equal for names that are one folder on some file system."""
    return unicodedata.normalize("NFC", name).casefold()


def _safe_part(part: str) -> str:
    raw = utf8(part)
    plain = raw.decode("utf-8", "replace")
    safe = "".join("_" if unicodedata.category(c) == "Cc" or c in _TURNING else c for c in plain)
    core = safe.strip(". ")
    begin, end = safe[: len(safe) - len(safe.lstrip("."))], safe[len(safe.rstrip(". ")) :]
    if not core:
        safe = "_" * max(len(safe), 1)
    elif begin or end:
        safe = "_" * len(begin) + safe[len(begin) : len(safe) - len(end)] + "_" * len(end)
    if safe.encode() == raw and not _is_reserved(safe) and len(safe.encode()) <= _LONGEST_BYTES:
        return safe
    short = safe.encode()[: _LONGEST_BYTES - _DIGITS - 1].decode("utf-8", "ignore")
    return f"{short}~{hashlib.sha256(raw).hexdigest()[:_DIGITS]}"


def _is_reserved(part: str) -> bool:
    """Whether a part is a name of a file that a run writes, finished or not."""
    return comparable(part).removesuffix(".partial") in (SUMMARY_FILE, FAILURES_FILE, *RESULT_FILES)


def told_apart(names: list[str]) -> list[str]:
    """Number names that are one folder on some file system: the first one stays."""
    taken = {comparable(name) for name in names}
    seen: set[str] = set()
    apart = []
    for name in names:
        number, candidate = 1, name
        while comparable(candidate) in (seen if number == 1 else taken | seen):
            number += 1
            candidate = f"{name}~{number}"
        seen.add(comparable(candidate))
        apart.append(candidate)
    return apart


def utf8(text: str) -> bytes:
    """Return the bytes of a name, those that are no UTF-8 as they are, whatever encoding this machine has for files."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")

"""Ways to spoil bytes, text and trees of values, drawn from a random generator."""

import json
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

RUNS_CODE = "__import__('os').close(__import__('os').open(__import__('os').environ['HOME'] + '/EXECUTED', 65))"
"""What would leave a trace where somebody evaluated it."""

_BIG_ENDIAN = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 0x10000, 0x7FFFFFF0)
_NUMBERS = (
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e308",
        "1e300",
        "-0",
        "0.1",
        "1" * 5000,
        "9" * 400,
        "1e-320",
        "00",
        "1.",
    ),
    *(
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "4294967296",
        "2147483648",
        "-1",
        "1e5",
        "3.5",
    ),
)
_TEXTS = (
    *(
        "",
        "\0",
        "\ud800",
        "\x1b]0;x\x07",
        "=1+1",
        "../../etc/passwd",
        "/etc/passwd",
        "/dev/zero",
        "~",
        ".",
        "..",
        "/",
        "-",
    ),
    *("a" * 100_000, "%s%n", "\u202e", "\ufeff", "nan", "null", "true", "1", "person", "{}", "[0]", "a\nb", "$HOME"),
    *(RUNS_CODE, f"!!python/object/apply:eval [{RUNS_CODE!r}]", "${jndi}", "{{7*7}}", "<script>alert(1)</script>"),
)


class Raw(str):
    """Text that stands in JSON as it is."""


def hypothesis_examples(strategy: st.SearchStrategy[Any], count: int, number: int) -> list[Any]:
    """Draw values of a strategy, the same ones for the same number."""
    drawn: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(strategy)
    def draw(value: Any) -> None:
        drawn.append(value)

    draw()
    return drawn


_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([Raw(n) for n in _NUMBERS])
    | st.sampled_from(_TEXTS)
)
json_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
"""Any value that JSON text may hold, those included that JSON does not allow."""


class Trees:
    """Spoils trees of values as JSON has them.

    Args:
        number: Chooses the values that are put in.
    """

    def __init__(self, number: int) -> None:
        self._values = hypothesis_examples(json_values, 200, number)

    def value(self, random: Random) -> Any:
        """Give any value."""
        kind = random.randrange(5)
        if kind == 0:
            return Raw(random.choice(_NUMBERS))
        if kind == 1:
            return random.choice(_TEXTS)
        if kind == 2:
            return random.choice(
                [None, True, False, [], {}, 0, -1, 1, 2, 10**6, 10**9, 0.5, [[]], [{}], [None], {"a": 1}]
            )
        if kind == 3 and random.random() < 0.2:
            depth = random.choice([50, 1100, 100_000])
            return Raw("[" * depth + "]" * depth)
        return random.choice(self._values)

    def spoil(self, tree: Any, random: Random, *, times: int = 1) -> Any:
        """Give a copy with some places changed: values, types, keys taken away, renamed, doubled or swapped."""
        tree = json.loads(json.dumps(tree))
        for _ in range(times):
            places = list(_places(tree))
            if not places:
                return self.value(random)
            # A list of a hundred numbers would hide the few keys that say what they are.
            names = list({_shape(path): None for path, _, _ in places})
            shape = random.choice(names)
            _, holder, key = random.choice([place for place in places if _shape(place[0]) == shape])
            self._spoil_one(holder, key, random)
        return tree

    def _spoil_one(self, holder: Any, key: Any, random: Random) -> None:
        value = holder[key]
        kind = random.randrange(12)
        if kind < 5:
            holder[key] = self.value(random)
        elif kind == 5:
            del holder[key]
        elif kind == 6 and isinstance(holder, dict):
            holder[random.choice([key + " ", key.upper(), key[:-1], "x" * 5000, ""])] = holder.pop(key)
        elif kind == 7 and isinstance(holder, dict):
            holder[_Doubled(key)] = random.choice([value, self.value(random)])
        elif kind == 8:
            holder[key] = random.choice([[value], {"a": value}, str(value), json.dumps(value)[:1000]])
        elif kind == 9 and isinstance(value, list):
            holder[key] = random.choice([value * 2, value[:-1], value[::-1], value[1:], value * 50])
        elif kind == 10 and isinstance(value, int | float):
            choices = [-value, value + 1, value * 1e6, value + 0.5, 1e30, int(value) << 31, 1 << 62, 1e7, 65536, 1e12]
            holder[key] = random.choice(choices)
        elif kind == 11 and isinstance(holder, list):
            holder[key] = holder[random.randrange(len(holder))]
        else:
            holder[key] = self.value(random)


class _Doubled(str):
    """A key that is there a second time."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash(("doubled", str(self)))

    def __eq__(self, other: object) -> bool:
        return self is other


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Any:
    if isinstance(tree, dict):
        items: Any = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    else:
        return
    for key, value in items:
        yield (*path, key), tree, key
        yield from _places(value, (*path, key))


def _shape(path: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("#" if isinstance(key, int) else key for key in path)


def to_json(tree: Any) -> bytes:
    """Write a tree with what JSON does not allow in it."""
    return _json(tree).encode("utf-8", "surrogatepass")


def _json(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{_json(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return json.dumps(value)


def spoil_bytes(data: bytes, random: Random, others: Sequence[bytes] = (), *, times: int | None = None) -> bytes:
    """Change some places of a file: bits, fields, runs; cut it, double parts, put in parts of others."""
    content = bytearray(data)
    for _ in range(times or random.choice([1, 1, 2, 4, 12])):
        content = random.choice(_BYTES)(content, random, others)
    return bytes(content)


def _place(content: bytearray, random: Random) -> int:
    # Headers stand at the ends; the middle is mostly pictures.
    size = len(content)
    return random.choice(
        [random.randint(0, size), random.randint(0, min(size, 200)), size - random.randint(0, min(size, 1200))]
    )


def _flip(content: bytearray, random: Random, _: Sequence[bytes]) -> bytearray:
    for _i in range(random.choice([1, 1, 3, 20])):
        if content:
            content[min(_place(content, random), len(content) - 1)] ^= 1 << random.randrange(8)
    return content


def _field(content: bytearray, random: Random, _: Sequence[bytes]) -> bytearray:
    at = _place(content, random)
    kind = random.choice([">I", "<I", ">Q", "<Q", ">H", "<H"])
    value = random.choice(_BIG_ENDIAN) & ((1 << 8 * struct.calcsize(kind)) - 1)
    content[at : at + struct.calcsize(kind)] = struct.pack(kind, value)
    return content


def _overwrite(content: bytearray, random: Random, _: Sequence[bytes]) -> bytearray:
    at, length = _place(content, random), random.choice([1, 4, 40, 1000])
    content[at : at + length] = random.choice([bytes(length), b"\xff" * length, random.randbytes(length)])
    return content


def _cut(content: bytearray, random: Random, _: Sequence[bytes]) -> bytearray:
    return content[: _place(content, random)]


def _drop(content: bytearray, random: Random, _: Sequence[bytes]) -> bytearray:
    at = _place(content, random)
    del content[at : at + random.choice([1, 3, 8, 100, 2000])]
    return content


def _double(content: bytearray, random: Random, _: Sequence[bytes]) -> bytearray:
    at = _place(content, random)
    content[at:at] = content[at : at + random.choice([4, 16, 200, 5000])] * random.choice([1, 1, 2, 30])
    return content


def _insert(content: bytearray, random: Random, _: Sequence[bytes]) -> bytearray:
    at = _place(content, random)
    content[at:at] = random.choice([b"\0", b"\n", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[2J", random.randbytes(30)])
    return content


def _splice(content: bytearray, random: Random, others: Sequence[bytes]) -> bytearray:
    if not others:
        return content[::-1] if random.random() < 0.05 else content
    other = random.choice(others)
    return content[: _place(content, random)] + other[_place(bytearray(other), random) :]


_BYTES: tuple[Callable[[bytearray, Random, Sequence[bytes]], bytearray], ...] = (
    *(_flip, _flip, _field, _field, _field),
    *(_overwrite, _cut, _drop, _double, _insert, _splice),
)


def spoil_text(text: str, random: Random) -> bytes:
    """Change a text file: words, lines, its encoding."""
    lines = text.split("\n")
    for _ in range(random.choice([1, 1, 2, 5])):
        at = random.randrange(len(lines))
        words = lines[at].replace(",", " , ").split(" ")
        kind = random.randrange(9)
        if kind < 4:
            words[random.randrange(len(words))] = random.choice([*_NUMBERS, *_TEXTS])
            lines[at] = " ".join(words).replace(" , ", ",")
        elif kind == 4:
            lines.insert(at, random.choice(lines))
        elif kind == 5:
            lines[at] = lines[at] * random.choice([2, 50])
        elif kind == 6:
            lines[at] = lines[at][: len(lines[at]) // 2]
        elif kind == 7:
            lines[at] = lines[at].replace(",", random.choice([";", ",,", "\t", " "]))
        else:
            lines[at] = random.choice(['"', "'", "# ", "\t", "\r"]) + lines[at]
    data = random.choice(["\n", "\n", "\r\n", "\r"]).join(lines).encode("utf-8", "surrogatepass")
    kind = random.randrange(12)
    if kind == 0:
        return "\n".join(lines).encode(random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-16-le"]), "replace")
    return spoil_bytes(data, random) if kind < 3 else data

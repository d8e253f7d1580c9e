"""YAML that others wrote, read with limits: what a small text may not do is take minutes or gigabytes."""

from collections.abc import Hashable
from typing import Any

import yaml

_MAX_CHARACTERS = 1 << 18  # of settings; those of real runs are below 10 kB
_MAX_VALUE, _MAX_DEPTH = 4096, 32


class _Loader(yaml.SafeLoader):
    """Builds plain values only; refuses what repeats or nests without end, and keys that stand twice in a mapping."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read one value and what is in it."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"*{str(event.anchor)[:40]}: aliases are not read; write the value out")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MAX_VALUE:
            raise yaml.YAMLError(f"a value has {len(event.value)} characters, at most {_MAX_VALUE}")
        if isinstance(event, yaml.ScalarEvent) and any("\ud800" <= letter <= "\udfff" for letter in event.value):
            raise yaml.YAMLError(f"{event.value[:40]!a} holds half a character")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {_MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; by itself, yaml would keep the last value of a doubled key and say nothing."""
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: {str(key)[:40]!r} is there twice")
                seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        ValueError: It is none, larger or deeper than settings are, repeats itself by aliases, or has a key twice.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, at most {_MAX_CHARACTERS}")
    try:
        loader = _Loader(text)  # refuses control characters
        return loader.get_single_data()
    except (yaml.YAMLError, ArithmeticError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(" ".join(str(error).split())) from error

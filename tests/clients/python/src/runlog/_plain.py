"""Any value as JSON: whole, or of bounded size."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")
MAX_CHARS = 64_000
"""Characters of all texts of one value together; the rest is cut."""
_MAX_DEPTH = 16
_MAX_ITEMS = 1_000
_MAX_WHOLE_DEPTH = 100
"""Levels that a server takes at most; as it is set by default, it takes 64."""
_CUT = "…"


class _TooDeep(ValueError):
    """The value cannot be whole."""


def text(value: object, max_chars: int | None = None) -> str:
    """A text that is valid Unicode; the name of the type of an object that has none."""
    try:
        plain = value if isinstance(value, str) else str(value)
    except Exception:
        plain = _type_of(value)
    if max_chars is not None and len(plain) > max_chars:
        plain = plain[:max_chars] + _CUT
    return plain.encode("utf-8", "replace").decode("utf-8")


def _type_of(value: object) -> str:
    return f"({type(value).__name__})"


def to_json(value: object) -> str:
    """The JSON text of the whole value; a ValueError for one that no server takes, such as one that holds itself. Members that
    JSON does not know become texts."""
    return json.dumps(_Plain(None).of(value, 0), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def bounded(value: object, max_chars: int = MAX_CHARS) -> Any:
    """The value as JSON values, cut to about this number of characters."""
    return _Plain(max_chars).of(value, 0)


def bounded_json(value: object, max_chars: int = MAX_CHARS) -> str:
    """The JSON text of the bounded value."""
    return json.dumps(bounded(value, max_chars), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class _Plain:
    """Makes JSON values, with what is left of the bound; without one nothing is cut."""

    def __init__(self, left: int | None) -> None:
        self._left = left

    def of(self, value: object, depth: int) -> Any:
        """The value; the name of its type where its own code fails, or another thread changes it meanwhile."""
        try:
            return self._of(value, depth)
        except _TooDeep:
            raise
        except Exception:
            return _type_of(value)

    def _of(self, value: object, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            if value.bit_length() > 2_000:
                # Fails for one that is too large for Python to write.
                int.__repr__(value)
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"({len(value)} bytes)"
        if self._left is None and depth >= _MAX_WHOLE_DEPTH:
            raise _TooDeep(f"payload: it nests more than {_MAX_WHOLE_DEPTH} levels deep, or holds itself")
        if self._left is not None and (depth >= _MAX_DEPTH or self._left <= 0):
            return _CUT
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            whole = list(value)
            items = [self.of(item, depth + 1) for item in self._first(whole)]
            return items if len(items) == len(whole) else [*items, _CUT]
        return self._object(value, depth)

    def _first(self, items: list[T]) -> list[T]:
        return items if self._left is None else items[:_MAX_ITEMS]

    def _text(self, value: str) -> str:
        if self._left is None:
            return text(value)
        cut = text(value, max(0, self._left))
        self._left -= len(cut)
        return cut

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for name, member in self._first(list(value.items())):
            members[self._text(text(name))] = self.of(member, depth + 1)
        return members

    def _object(self, value: Any, depth: int) -> Any:
        """Messages of LangChain in short, then what models and data classes hold, else the text of the object."""
        if hasattr(value, "content") and isinstance(getattr(value, "type", None), str):
            message = {"role": value.type, "content": value.content}
            if calls := getattr(value, "tool_calls", None):
                message["tool_calls"] = [{"name": call.get("name"), "args": call.get("args")} for call in calls]
            return self._mapping(message, depth)
        if isinstance(value, type):
            return self._text(value.__name__)
        if hasattr(value, "model_dump"):
            # A mapping, or whatever a model is of that has no members; at worst one more model.
            dumped = value.model_dump()
            return self.of(dumped, depth + 1 if hasattr(dumped, "model_dump") else depth)
        if dataclasses.is_dataclass(value):
            fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
            return self._mapping(fields, depth)
        return self._text(text(value))

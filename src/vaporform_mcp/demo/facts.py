"""Reading the facts of a tool's result, which come as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

__all__ = ["Facts"]


@dataclass(frozen=True, slots=True)
class Facts:
    """An object of a result. What is missing or of another kind is read as None, or as empty."""

    values: Mapping[str, object]

    @classmethod
    def of(cls, value: object) -> Facts:
        return cls(value if _is_object(value) else {})

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> float | None:
        value = self.values.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def is_true(self, name: str) -> bool:
        return self.values.get(name) is True

    def inner(self, name: str) -> Facts:
        return Facts.of(self.values.get(name))

    def items(self, name: str) -> Sequence[Facts]:
        value = self.values.get(name)
        return [Facts.of(each) for each in value] if _is_array(value) else []

    def texts(self, name: str) -> Sequence[str]:
        value = self.values.get(name)
        return [each for each in value if isinstance(each, str)] if _is_array(value) else []

    def named_texts(self) -> Mapping[str, str]:
        return {name: value for name, value in self.values.items() if isinstance(value, str)}


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)  # the keys of JSON are always strings


def _is_array(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list)

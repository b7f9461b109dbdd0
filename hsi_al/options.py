"""Configuration keys as dataclass fields, which hold a key's default, meaning and allowed values in one place."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from math import isfinite
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Allowed:
    """The meaning of a key and the values it accepts; None is always accepted.

    Attributes:
        meaning: What the key does, in a few words.
        choices: All accepted values; empty if the type alone decides.
        low: Inclusive lower bound.
        high: Inclusive upper bound.
        above: Exclusive lower bound.
        below: Exclusive upper bound.
    """

    meaning: str = ""
    choices: tuple[str | bool, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, value: Any) -> str | None:  # noqa: ANN401
        """Return what is wrong with a value as the end of a sentence after `key=value`; None for an accepted value."""
        if value is None:
            return None
        if self.choices and value not in self.choices:
            return f"is unknown; choose one of {', '.join(str(choice).lower() for choice in self.choices)}."
        return None if self._in_span(value) else f"must be {self._span()}."

    def _in_span(self, value: Any) -> bool:  # noqa: ANN401
        bounds = (self.low, self.high, self.above, self.below)
        if all(bound is None for bound in bounds):
            return True
        return (
            isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def _span(self) -> str:
        if self.low is not None and self.high is not None:
            return f"between {self.low} and {self.high}"
        if self.low is not None and self.below is None:
            return f"{self.low} or more"
        parts = {"at least": self.low, "above": self.above, "at most": self.high, "below": self.below}
        return " and ".join(f"{word} {bound}" for word, bound in parts.items() if bound is not None)


def option(default: T, meaning: str = "", **allowed: Any) -> T:  # noqa: ANN401
    """Return a dataclass field that is a key of the configuration.

    Args:
        default: Default value of the key; a list is copied.
        meaning: What the key does, in a few words.
        allowed: `choices`, `low`, `high`, `above`, `below`, see `Allowed`.
    """
    metadata = {"allowed": Allowed(meaning, **allowed)}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)  # type: ignore[return-value]
    return field(default=default, metadata=metadata)


def options_of(node: object, prefix: str = "") -> Iterator[tuple[str, Any, Allowed]]:
    """Yield dotted key, value and allowed values of every field of a dataclass, including its nested dataclasses."""
    assert is_dataclass(node)
    for item in fields(node):
        key, value = f"{prefix}{item.name}", getattr(node, item.name)
        if is_dataclass(value):
            yield from options_of(value, f"{key}.")
        else:
            yield key, value, item.metadata.get("allowed", Allowed())

"""Options of a run as fields of dataclasses: default, meaning and allowed values of a key stand in one place."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from math import isfinite
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Allowed:
    """Which values a key takes; None passes always.

    Attributes:
        meaning: What the key does, in a few words.
        choices: The values themselves; empty if any of the type will do.
        low: Smallest number.
        high: Largest number.
        above: Every number must be larger.
        below: Every number must be smaller.
    """

    meaning: str = ""
    choices: tuple[str | bool, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, value: Any) -> str | None:  # noqa: ANN401
        """What is wrong with a value, as the end of a sentence that begins with `key=value`, or None."""
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
    """A field of a dataclass that is a key of the configuration.

    Args:
        default: Its value unless another is given; a list is copied.
        meaning: What the key does.
        allowed: `choices`, `low`, `high`, `above`, `below`, see `Allowed`.
    """
    metadata = {"allowed": Allowed(meaning, **allowed)}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)  # type: ignore[return-value]
    return field(default=default, metadata=metadata)


def options_of(node: object, prefix: str = "") -> Iterator[tuple[str, Any, Allowed]]:
    """Dotted key, value and allowed values of every field of a dataclass and of those inside of it."""
    assert is_dataclass(node)
    for item in fields(node):
        key, value = f"{prefix}{item.name}", getattr(node, item.name)
        if is_dataclass(value):
            yield from options_of(value, f"{key}.")
        else:
            yield key, value, item.metadata.get("allowed", Allowed())

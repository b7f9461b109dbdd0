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
        most: Largest value that makes sense, where no bound follows from the meaning; named only if a value exceeds it.
        finite: Whether NaN and infinite numbers are refused.
    """

    meaning: str = ""
    choices: tuple[str | bool, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    most: float | None = None
    finite: bool = True

    def problem(self, value: Any) -> str | None:  # noqa: ANN401
        """Return what is wrong with a value as the end of a sentence after `key=value`; None for an accepted value.

        Of a list, every element has to be accepted.
        """
        if isinstance(value, list):
            return next(filter(None, map(self.problem, value)), None)
        if value is None:
            return None
        if self.choices:
            if any(type(value) is type(choice) and value == choice for choice in self.choices):  # 0 equals False
                return None
            return f"is unknown; choose {self.accepts}."
        if isinstance(value, str):
            return problem_of_text(value)
        return self._problem_of_number(value) if isinstance(value, int | float) else None  # a table: others tell

    def _problem_of_number(self, value: float) -> str | None:
        if isinstance(value, float) and not isfinite(value):
            return f"must be {self._span() or 'a finite number'}." if self.finite else None
        if not self._in_span(value):
            return f"must be {self._span()}."
        return None if self.most is None or value <= self.most else f"must be {self.most} or less."

    @property
    def accepts(self) -> str:
        """Choices or limits in words; empty if the type alone decides."""
        if self.choices:
            return f"one of {', '.join(str(c).lower() if isinstance(c, bool) else c for c in self.choices)}"
        span = self._span()
        return span.replace("between", "from").replace(" and ", " to ") if span.startswith("between") else span

    def _in_span(self, value: float) -> bool:
        return (
            (self.low is None or value >= self.low)
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


def problem_of_text(value: str) -> str | None:
    """Return what is wrong with a text, as for `Allowed.problem`: it is empty, or no file can hold it."""
    if not value:
        return "is empty; give it a value, or leave it out."
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds bytes that are no text here; rename it, or set PYTHONUTF8=1."
    return "holds a null character; leave it out." if "\0" in value else None


def option(default: T, meaning: str = "", **allowed: Any) -> T:  # noqa: ANN401
    """Return a dataclass field that is a key of the configuration.

    Args:
        default: Default value of the key; a list is copied.
        meaning: What the key does, in a few words.
        allowed: `choices`, `low`, `high`, `above`, `below`, `most`, `finite`, see `Allowed`.
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

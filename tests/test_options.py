"""What a key accepts."""

import math

import pytest

from hsi_al.options import Allowed


@pytest.mark.parametrize(
    ("allowed", "value", "problem"),
    [
        (Allowed(low=1), 1, None),
        (Allowed(low=1), 0, "must be 1 or more."),
        (Allowed(low=1, most=9), 0, "must be 1 or more."),
        (Allowed(low=1, most=9), 9, None),
        (Allowed(low=1, most=9), 10, "must be 9 or less."),
        (Allowed(low=1, most=9), 10**40, "must be 9 or less."),
        (Allowed(low=0, high=1), 1.5, "must be between 0 and 1."),
        (Allowed(low=0, high=1), math.nan, "must be between 0 and 1."),
        (Allowed(), math.nan, "must be a finite number."),
        (Allowed(), -math.inf, "must be a finite number."),
        (Allowed(finite=False), math.nan, None),
        (Allowed(low=0), [1, 2, -1], "must be 0 or more."),
        (Allowed(low=0), [], None),
        (Allowed(low=0), None, None),
        (Allowed(low=0), [None], None),
        (Allowed(choices=("auto", True, False)), True, None),
        (Allowed(choices=("auto", True, False)), 0, "is unknown; choose one of auto, true, false."),
        (Allowed(choices=("auto", True, False)), 1.0, "is unknown; choose one of auto, true, false."),
        (Allowed(choices=("a", "b")), "c", "is unknown; choose one of a, b."),
        (Allowed(), "é", None),
        (Allowed(), "", "is empty; give it a value, or leave it out."),
        (Allowed(), "a\udc80", "holds bytes that are no text here; rename it, or set PYTHONUTF8=1."),
        (Allowed(), ["a", "b\0"], "holds a null character; leave it out."),
    ],
)
def test_problems(allowed: Allowed, value: object, problem: str | None) -> None:
    assert allowed.problem(value) == problem

"""Long predictions in parts: nothing is lost, doubled or reordered, and progress goes on."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.errors import LearnerError
from hsi_al.methods.base import RefittedLearner, in_parts, predicted_map, require_sound
from hsi_al.outputs import Outputs, Progress

Ids = NDArray[np.int64]


class Digits(RefittedLearner):
    """Predicts a pixel id's last digit."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.progress: Progress | None = None

    def describe(self) -> str:
        return "digits"

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None: ...

    def predict(self, pixel_ids: Ids) -> Outputs:
        self.asked.append(pixel_ids.tolist())
        self.report("scoring", 0.5)
        self.report("scoring", 1.0)
        digits = pixel_ids % 10
        return Outputs(digits, predicted_loss_N=digits.astype(np.float32))


@pytest.fixture(autouse=True)
def four_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.methods.base.PART", 4)


@pytest.mark.parametrize("n", [1, 4, 5, 11])
def test_parts_join_to_the_whole(n: int) -> None:
    learner, ids = Digits(), np.arange(n) * 3
    outputs = Outputs.joined(list(in_parts(learner, ids)))
    assert outputs.predicted_class.tolist() == [i * 3 % 10 for i in range(n)]
    assert outputs.predicted_loss_N is not None
    assert outputs.predicted_loss_N.tolist() == outputs.predicted_class.tolist()
    assert outputs.probabilities_NC is None
    assert [len(asked) for asked in learner.asked] == [4] * (n // 4) + [n % 4] * (n % 4 > 0)


def test_progress_is_that_of_the_whole() -> None:
    learner, told = Digits(), list[Any]()

    def tell(text: str, part: float) -> None:
        told.append((text, part))

    learner.progress = tell
    list(in_parts(learner, np.arange(8)))
    assert told == [("scoring", part) for part in (0.25, 0.5, 0.75, 1.0)]
    assert learner.progress is tell


def test_a_map_predicts_only_what_is_not_known() -> None:
    learner, told = Digits(), list[float]()
    learner.progress = lambda text, part: told.append(part)
    known = np.array([0, 1, 2, 3, 5, 9])
    classes = predicted_map(learner, 10, 10, known, np.full(6, 7))
    assert classes.tolist() == [7, 7, 7, 7, 4, 7, 6, 7, 8, 7]
    assert classes.dtype == np.uint8
    assert learner.asked == [[4, 6, 7], [8]]
    assert told == sorted(told) and told[-1] == 1.0
    none = np.empty(0, np.int64)
    assert predicted_map(Digits(), 300, 256, none, none).dtype == np.uint16


def test_outputs_from_which_nothing_follows_are_refused() -> None:
    classes, even = np.array([0, 2, 1]), np.full((3, 3), 1 / 3, np.float32)
    for sound in (
        Outputs(classes),
        Outputs(classes, even),
        Outputs(classes[:0], even[:0]),
        Outputs(classes.astype("u1")),
    ):
        require_sound(sound, 3, "digits")
    for outputs, says in (
        (Outputs(np.array([0, -1, 1])), "digits predicted classes from -1 to 1 .*whole numbers from 0 to 2"),
        (Outputs(np.array([0, 3, 1])), "from 0 to 3"),
        (Outputs(classes.astype(float)), "float64"),
        (Outputs(classes, even[:, :2]), r"probabilities of shape \(3, 2\) for 3 pixels and 3 classes"),
        (Outputs(classes, 2 * even), "sum to 2 for 3 of 3 pixels"),
        (Outputs(classes, even * np.array([[1], [1], [0]], np.float32)), "sum to 0 for 1 of 3 pixels"),
    ):
        with pytest.raises(LearnerError, match=says):
            require_sound(outputs, 3, "digits")

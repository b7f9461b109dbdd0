"""TensorBoard through the command line, read back with its own reader."""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import CommandLine, unfinish
from tests.test_run import TINY_RUN

IMAGES = {"images": 0, "tensors": 0, "scalars": 0}


def events(run: Path) -> Any:
    return EventAccumulator(str(run / "tensorboard"), size_guidance=IMAGES).Reload()


def scalars(found: Any, name: str) -> dict[int, float]:
    values = [(event.step, event.value) for event in found.Scalars(name)]
    assert len(values) == len(dict(values))
    return dict(values)


@pytest.mark.slow
def test_the_event_file_holds_curve_configuration_and_pictures(
    command_line: CommandLine, tiny_scene: list[str]
) -> None:
    arguments = [*tiny_scene, "logger=tensorboard", "protocol.full_map=true"]
    outcome = command_line(*arguments)
    assert outcome.code == 0, outcome.err
    assert "TensorBoard: tensorboard --logdir " in outcome.out
    with (TINY_RUN / "curve.csv").open() as opened:
        rows = list(csv.DictReader(opened))

    def check() -> None:
        found = events(TINY_RUN)
        for ours, theirs in (
            ("al/oa_all", "oa_all"),
            ("al/kappa_heldout", "kappa_heldout"),
            ("recall/class 5", "recall_5"),
        ):
            expected = {int(row["n_labelled"]): float(row[theirs]) for row in rows}
            assert list(expected) == [12, 16, 20]
            assert scalars(found, ours) == pytest.approx(expected)
        assert "al/labels" not in found.Tags()["scalars"]
        pictures = {"learning_curve", "map", "query_map", "confusion"}
        assert set(found.Tags()["images"]) == {f"figures/{name}" for name in pictures}
        (image,) = found.Images("figures/map")
        height, width, _ = np.asarray(imread(TINY_RUN / "figures" / "map.png")).shape
        assert (image.step, image.height, image.width) == (20, height, width)
        (text,) = found.Tensors("configuration/text_summary")
        assert "initial_size: 12" in text.tensor_proto.string_val[0].decode()

    check()
    # A continued run shows every round once, though its events were written twice.
    unfinish(TINY_RUN)
    assert command_line(*arguments).code == 0
    check()


def test_without_the_package_one_sentence_says_so(
    command_line: CommandLine, tiny_scene: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    outcome = command_line(*tiny_scene, "logger=tensorboard")
    assert outcome.code == 2
    assert "pip install tensorboard" in outcome.err
    assert not Path("outputs").exists()

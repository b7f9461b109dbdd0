"""A score of one's own, as docs/acquisition.md shows it."""

import re
from pathlib import Path

import numpy as np
import pytest

from hsi_al.acquisition.factory import build_acquisition
from hsi_al.acquisition.registry import BATCHES
from hsi_al.config.schema import AcquisitionConfig
from hsi_al.errors import AcquisitionError, ConfigurationError
from tests.acquisition.fakes import pool_of
from tests.conftest import CommandLine

DOCS = Path(__file__).resolve().parents[2] / "docs" / "acquisition.md"


def block(language: str, place: int = 0) -> str:
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return blocks[place]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module and the YAML of the documentation in a folder of their own."""
    folder = tmp_path / "own"
    (folder / "acquisition").mkdir(parents=True)
    (folder / "my_scores.py").write_text(block("python"))
    (folder / "acquisition" / "gini.yaml").write_text(block("yaml"))
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_one_function_and_one_yaml_in_twenty_lines(command_line: CommandLine, tiny_scene: list[str], own: Path) -> None:
    assert len((block("python") + block("yaml")).splitlines()) <= 20
    arguments = [*tiny_scene, "acquisition=gini", "acquisition.min_distance=2", f"--config-dir={own}"]
    outcome = command_line(*arguments)
    assert outcome.code == 0, outcome.err
    assert Path("outputs/main/tiny/deep-lenet/gini-min_distance=2/smoke-paper/seed=0/curve.csv").exists()


def test_a_generator_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    build_acquisition("badge")  # finds all
    monkeypatch.setitem(BATCHES, "explore", BATCHES["badge"])  # so that it goes behind the test
    exec(block("python", 1), {})
    assert BATCHES["explore"].needs == ("probabilities_NC",)
    top = np.linspace(0.99, 0.5, 10)
    view = pool_of(1, probabilities_NC=np.stack([top, 1 - top], axis=1))
    query = build_acquisition("explore").select(view, 9, np.random.default_rng(0)).tolist()
    assert sorted(query) == list(range(1, 10))
    by_margin = query[::2]
    assert by_margin[0] == 9 and by_margin == sorted(by_margin, reverse=True)
    assert query != sorted(query, reverse=True)


def write(folder: Path, name: str, body: str) -> AcquisitionConfig:
    (folder / f"{name}.py").write_text(f"import numpy as np\n\ndef score({body}\n")
    return AcquisitionConfig(score=f"{name}.score")


def test_its_arguments_are_its_needs(own: Path) -> None:
    options = write(own, "two_needs", "embeddings_ND, predicted_class): return embeddings_ND[:, 0] + predicted_class")
    acquisition = build_acquisition("mine", options)
    assert acquisition.needs == {"embeddings_ND"}
    view = pool_of(1, embeddings_ND=np.array([[9], [1], [3], [2]], np.float32))
    assert acquisition.select(view, 2, np.random.default_rng(0)).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("short", "embeddings_ND): return embeddings_ND[1:, 0]", "must return 4 scores, .* shape \\(3,\\)"),
        ("nan", "embeddings_ND): return embeddings_ND[:, 0] * np.nan", "NaN or infinite"),
    ],
)
def test_what_it_gives_is_checked(own: Path, name: str, body: str, message: str) -> None:
    acquisition = build_acquisition("mine", write(own, f"gives_{name}", body))
    with pytest.raises(AcquisitionError, match=message):
        acquisition.select(pool_of(1, embeddings_ND=np.ones((4, 1), np.float32)), 1, np.random.default_rng(0))


def test_draws_can_be_chosen_for_a_score_that_reads_them_alone(own: Path) -> None:
    write(own, "reads_draws", "mc_probabilities_NKC): return mc_probabilities_NKC[:, 0, 0]")
    assert build_acquisition("mine", AcquisitionConfig(score="reads_draws.score", draws=4)).needs == {
        "mc_probabilities_NKC"
    }
    with pytest.raises(ConfigurationError, match=r"acquisition=mine doesn't take acquisition.draws"):
        build_acquisition("mine", AcquisitionConfig(score="my_scores.gini", draws=4))

"""The Python code of README, docs/python.md and the notebooks runs as it stands."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from tests.processes import forked_run

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory without a network, and pictures that nobody sees."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HSI_AL_DOWNLOAD_BASE", "http://127.0.0.1:9/")
    plt.switch_backend("agg")
    yield
    plt.close("all")


def blocks(page: str) -> list[str]:
    found: list[str] = CODE.findall((ROOT / page).read_text(encoding="utf-8"))
    return found


def test_ten_lines_of_the_readme_are_an_experiment(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (code,) = blocks("README.md")
    assert sum(map(bool, code.splitlines())) == 10
    exec(code, {})
    *rounds, last = capsys.readouterr().out.splitlines()
    accuracies = [float(line.split()[2].rstrip("%")) for line in rounds]
    assert [line.split()[0] for line in rounds] == [str(20 + 10 * number) for number in range(9)]
    assert accuracies[-1] > 95 > accuracies[0] and 50 < float(last.split()[0]) < 100
    assert (tmp_path / "map.png").stat().st_size > 5000


def test_the_page_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    found = blocks("docs/python.md")
    assert len(found) >= 12
    names: dict[str, Any] = {}
    for code in found:
        exec(code, names)
    assert "There is no acquisition 'margn'" in capsys.readouterr().out.splitlines()[-1]
    import hsi_al

    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    assert not [name for name in hsi_al.__all__ if not re.search(rf"\b{name}\b", text)]


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["comparing_runs", "first_steps", "your_own"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_from_top_to_bottom(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", forked_run)
    book = json.loads(path.read_text(encoding="utf-8"))
    assert book["nbformat"] == 4 and path.stat().st_size < 400_000
    names: dict[str, Any] = {"display": print}
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4
    for cell in cells:
        exec("".join(cell["source"]), names)
    kept = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in kept)
    assert not any(output["output_type"] == "error" for output in kept)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))

"""Recipes are put together from their parts, compared on shared seeds, and trained once."""

import json
from pathlib import Path

import pytest

from experiments.recipe import __main__ as recipe
from hsi_al.methods.deep.learner import DeepSettings
from tests.experiments.test_compared import tiny

RECORDED = Path(__file__).parents[2] / "experiments" / "results"


def test_parts_are_joined() -> None:
    settings = recipe.settings_of("augment+cosine+batch_20", DeepSettings()).protocol
    assert (settings.augment, settings.schedule, settings.lr_warm_up, settings.batch_size) == (True, "cosine", 0.1, 20)
    assert recipe.settings_of("plain", DeepSettings()) == DeepSettings()


def test_differences_are_those_on_shared_seeds() -> None:
    accuracies = {("plain", 0): 0.5, ("plain", 1): 0.7, ("augment", 0): 0.6, ("augment", 1): 0.9, ("cosine", 2): 0.9}
    runs = [
        {"recipe": name, "seed": seed, "accuracy": accuracy, "steps": 3, "seconds": 2.0}
        for (name, seed), accuracy in accuracies.items()
    ]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in recipe.table(runs).splitlines()]
    assert rows[2:] == [
        ["plain", "60.00 ± 14.14", "", "2", "3", "2"],
        ["augment", "75.00 ± 21.21", "15.00 ± 7.07", "2", "3", "2"],
        ["cosine", "90.00", "", "1", "3", "2"],
    ]


@pytest.mark.slow
def test_what_is_there_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recipe, "load_catalogue_scene", lambda *_: tiny())
    out = tmp_path / "runs.json"
    arguments = ["recipe", str(out), "--backbone=lenet", "--epochs=1", "--labels=20", "--seeds=0", "--threads=1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--recipes=plain"])
    recipe.main()
    first = json.loads(out.read_text())
    monkeypatch.setattr("sys.argv", [*arguments, "--recipes=plain,augment+smoothing"])
    recipe.main()
    runs = json.loads(out.read_text())
    assert runs[:1] == first and [run["recipe"] for run in runs] == ["plain", "augment+smoothing"]
    assert all(0 < run["accuracy"] < 1 and run["steps"] == 2 for run in runs)
    # Nor are the recorded ones of earlier versions, which kept their settings in another form.
    recorded = json.loads((RECORDED / "recipe" / "densenet121.json").read_text())
    out.write_text(json.dumps(recorded))
    monkeypatch.setattr(recipe, "trained", None)
    monkeypatch.setattr("sys.argv", ["recipe", str(out), "--recipes=plain,augment", "--seeds=0"])
    recipe.main()
    assert json.loads(out.read_text()) == recorded
    monkeypatch.setattr("sys.argv", [*arguments, "--recipes=magic"])
    with pytest.raises(SystemExit):
        recipe.main()
    assert "unknown recipe magic; there are plain, cosine" in capsys.readouterr().err

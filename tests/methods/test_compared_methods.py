"""The compared methods through the command line, on the tiny scene."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hsi_al.scenes.catalogue import whole_of
from tests.conftest import CommandLine, tiny_arrays, unfinish
from tests.test_run import curve_without_seconds

METHODS = {
    "emp_svm": "emp_svm",
    "jcr": "jcr",
    "cnn3d": "cnn3d-hamida-short",
    "cae3d_svm": "cae3d_svm-short",
    "cnn_ppf": "cnn_ppf-short",
    "scnn_svm": "scnn_svm-short",
    "dfsl_svm": "dfsl_svm-short",
}
SUPERVISED = ["protocol=per_class", "protocol.per_class=6", "acquisition=none"]


def run_of(method: str, acquisition: str = "none", protocol: str = "per_class") -> Path:
    return Path(f"outputs/main/tiny/{METHODS[method]}/{acquisition}/{protocol}-paper/seed=0")


@pytest.fixture
def scene(tiny_scene: list[str]) -> list[str]:
    """Without the choices that the deep learner's tests make."""
    dropped = ("protocol", "patch_size", "backbone", "acquisition")
    return [argument for argument in tiny_scene if not argument.startswith(dropped)]


def test_cheap_methods_classify_the_scene_from_six_labels_of_each_class(
    command_line: CommandLine, scene: list[str]
) -> None:
    drawn = []
    for method in ("emp_svm", "jcr"):
        outcome = command_line(*scene, *SUPERVISED, f"learner={method}")
        assert outcome.code == 0, outcome.err
        run = run_of(method)
        (row,) = curve_without_seconds(run)
        assert row["n_labelled"] == "18"
        assert float(row["oa_heldout"]) > 0.95
        with h5py.File(run / "predictions.h5") as file:
            predicted = file["class_map"][:]
        truth = tiny_arrays()[1]
        assert (predicted[truth > 0] == truth[truth > 0]).mean() > 0.95
        with h5py.File(run / "pool.h5") as file:
            drawn.append(file["pixel_id"][:][file["labelled_at"][:] == 0].tolist())
        meta = json.loads((run / "meta.json").read_text())
        assert meta["title"].startswith(f"tiny, {method}, none, protocol per_class")
        assert not list(run.glob("weights*"))
    assert drawn[0] == drawn[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name] != name])
def test_trained_methods_run_through_the_loop(
    command_line: CommandLine, scene: list[str], method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With next to no training: their accuracies have tests of their own."""
    from hsi_al.methods import cnn3d
    from hsi_al.methods.cae3d_svm import extractor as cae3d
    from hsi_al.methods.cnn_ppf import learner as ppf
    from hsi_al.methods.dfsl_svm import extractor as dfsl
    from hsi_al.methods.scnn_svm import extractor as scnn

    monkeypatch.setattr(cnn3d, "EPOCHS", {"short": 1})
    monkeypatch.setitem(cae3d.EFFORTS, "short", replace(cae3d.EFFORTS["short"], epochs=1, max_patches=32))
    monkeypatch.setitem(ppf.EFFORTS, "short", replace(ppf.EFFORTS["short"], epochs_per_stage=1, least_steps=0))
    monkeypatch.setitem(scnn.EFFORTS, "short", replace(scnn.EFFORTS["short"], epochs=1))
    monkeypatch.setitem(dfsl.EFFORTS, "short", replace(dfsl.EFFORTS["short"], episodes=1))
    cube, truth = tiny_arrays()
    np.save(tmp_path / "wide.npy", np.concatenate([cube + band for band in range(17)], axis=2))
    np.save(tmp_path / "truth.npy", truth)
    own = [argument for argument in scene if not argument.startswith(("dataset.cube", "dataset.ground"))]
    outcome = command_line(
        *own,
        *SUPERVISED,
        f"dataset.cube_file={tmp_path / 'wide.npy'}",
        f"dataset.ground_truth_file={tmp_path / 'truth.npy'}",
        f"learner={method}",
        "learner.effort=short",
    )
    assert outcome.code == 0, outcome.err
    run = run_of(method)
    (row,) = curve_without_seconds(run)
    assert row["n_labelled"] == "18"
    assert (run / "figures" / "map.png").exists()
    assert f"tiny, {METHODS[method]}, none" in outcome.out
    if method == "dfsl_svm":
        assert "indian_pines" in outcome.out and "Houston" in outcome.out


def test_a_run_interrupted_before_its_maps_is_fitted_once_more(command_line: CommandLine, scene: list[str]) -> None:
    arguments = [*scene, *SUPERVISED, "learner=emp_svm"]
    assert command_line(*arguments).code == 0
    run = run_of("emp_svm")
    maps = (run / "predictions.h5").read_bytes()
    curve = (run / "curve.csv").read_bytes()
    (run / "predictions.h5").unlink()
    unfinish(run)
    outcome = command_line(*arguments)
    assert outcome.code == 0, outcome.err
    assert (run / "predictions.h5").read_bytes() == maps
    assert (run / "curve.csv").read_bytes() == curve


def test_max_entropy_with_emp_and_svm_is_configuration_only(command_line: CommandLine, scene: list[str]) -> None:
    outcome = command_line(
        *scene, "protocol=smoke", "protocol.initial_size=12", "protocol.query_size=4", "learner=emp_svm",
        "acquisition=entropy", "protocol.full_map=true", "protocol.max_pixels=null",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = curve_without_seconds(run_of("emp_svm", "entropy", "smoke"))
    assert [row["n_labelled"] for row in rows] == ["12", "16", "20"]
    assert float(rows[-1]["oa_all"]) > 0.95


BY_PROBABILITIES = "entropy, least_confidence, margin, breaking_ties, modified_breaking_ties"
BY_DRAWS = "bald, mean_entropy, variation_ratio"
BY_EMBEDDINGS = "core_set, badge, typiclust, prob_cover, cluster_margin, committee"


@pytest.mark.parametrize("acquisition", ["badge"])
def test_features_before_an_svm_serve_as_embeddings(
    command_line: CommandLine, scene: list[str], acquisition: str
) -> None:
    outcome = command_line(
        *scene, "protocol=smoke", "protocol.initial_size=12", "protocol.query_size=4", "learner=emp_svm",
        f"acquisition={acquisition}", "protocol.max_pixels=60", "protocol.rounds=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("method", "acquisition", "works"),
    [
        ("jcr", "loss_prediction", "random, none"),
        ("jcr", "entropy", "random, none"),
        ("jcr", "core_set", "random, none"),
        ("cnn3d", "loss_prediction_diverse", f"{BY_PROBABILITIES}, {BY_DRAWS}, {BY_EMBEDDINGS}, random, none"),
        ("emp_svm", "loss_prediction", f"{BY_PROBABILITIES}, {BY_EMBEDDINGS}, random, none"),
        ("emp_svm", "bald", f"{BY_PROBABILITIES}, {BY_EMBEDDINGS}, random, none"),
    ],
)
def test_what_a_learner_cannot_give_is_refused_with_what_works(
    command_line: CommandLine, scene: list[str], method: str, acquisition: str, works: str
) -> None:
    outcome = command_line(*scene, "protocol=smoke", f"learner={method}", f"acquisition={acquisition}")
    assert outcome.code == 2
    assert f"learner={method} can't give" in outcome.err
    *names, none = works.split(", ")
    assert outcome.err.strip().endswith(f"choose one of acquisition={', '.join([*sorted(names), none])}.")
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learner=emp_svm", "learner.components=9"], "learner.components=9 is too many for 6 bands"),
        (["learner=emp_svm", "learner.radii=[1,0]"], "learner.radii=[1, 0] must be one or more half-widths"),
        (["learner=emp_svm", "learner.radii=[]"], "learner.radii=[] must be one or more half-widths"),
        (["learner=emp_svm", "learner.components=2.5"], "learner.components=2.5 must be a whole number"),
        (
            ["learner=dfsl_svm", "dataset.name=salinas_a", "learner.source_scenes=[salinas]"],
            "shares pixels with salinas_a",
        ),
        (["learner=jcr", "learner.variant=other"], "learner.variant=other is unknown; choose one of averaged, joint"),
        (["learner=cnn_ppf", "learner.effort=long"], "learner.effort=long is unknown"),
        (["learner=emp_svm", "learner.effort=short"], "There is no key effort in learner;"),
        (["learner=emp_svm", "protocol.per_class=200"], "class 2 has 110 candidates, but protocol.per_class=200"),
        (["learner=dfsl_svm", "learner.source_scenes=[nowhere.h5]"], "nowhere.h5"),
        (["learner=dfsl_svm", "learner.source_scenes=[]"], "source_scenes"),
        (
            ["learner=emp"],
            "choose one of cae3d_svm, cnn3d, cnn_ppf, deep, dfsl_svm, emp_svm, jcr, lda, nearest_label, ",
        ),
    ],
)
def test_bad_input(command_line: CommandLine, scene: list[str], arguments: list[str], message: str) -> None:
    outcome = command_line(*scene, *SUPERVISED, *arguments)
    assert outcome.code == 2
    assert message in outcome.err, outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not Path("outputs").exists()


def test_no_network_is_no_learner_for_another_cube(
    command_line: CommandLine, scene: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from hsi_al.predict import main

    assert command_line(*scene, *SUPERVISED, "learner=emp_svm").code == 0
    np.save(tmp_path / "other.npy", tiny_arrays()[0])
    assert main([str(run_of("emp_svm")), str(tmp_path / "other.npy")]) == 2
    assert "learner=emp_svm" in capfd.readouterr().err


def test_scenes_that_share_pixels() -> None:
    assert whole_of("salinas_a") == whole_of("salinas") == "salinas"
    assert whole_of("indian_pines") == whole_of("indian_pines_16") != whole_of("salinas")

"""Bad input through the command line: one sentence, exit code 2, nothing left behind."""

import json
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from tests.conftest import CommandLine, tiny_arrays
from tests.processes import Forked, command
from tests.test_run import TINY_RUN

Breaker = Callable[[Path, np.ndarray, np.ndarray], list[str]]


def check_refused(code: int | None, err: str, words: str, directory: Path) -> None:
    """Exit code 2, one line on stderr with the words, and no run files."""
    assert code == 2, err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("hsi_al: error: ")
    assert words in lines[0]
    left = [
        path.name for path in directory.rglob("*") if path.name in ("curve.csv", "pool.h5", "config.yaml", "meta.json")
    ]
    assert not left


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("dataset=nosuch", "There is no dataset 'nosuch'; choose one of botswana, chikusei, custom"),
        (
            "learner=svc",
            "There is no learner 'svc'; choose one of cae3d_svm, cnn3d, cnn_ppf, deep, dfsl_svm",
        ),
        ("backbon=resnet18", "There is no key backbon; did you mean backbone?"),
        ("protocol.epoch=3", "There is no key epoch in protocol; did you mean epochs?"),
        ("+foo=1", "There is no key foo"),
        ("protocol.epochs=many", "'many' of type 'str' could not be converted to Integer (key protocol.epochs)"),
        ("protocol.epochs=1.5", "protocol.epochs"),
        ("protocol.epochs=0", "protocol.epochs=0 must be 1 or more"),
        ("protocol.epochs=-4", "protocol.epochs=-4 must be 1 or more"),
        ("protocol.batch_size=0", "protocol.batch_size=0 must be 2 or more"),
        ("protocol.batch_size=-2", "protocol.batch_size=-2"),
        ("protocol.batch_size=5 acquisition=loss_prediction backbone=resnet18", "batch_size=5 is odd"),
        ("protocol.lr=0", "protocol.lr=0"),
        ("protocol.lr=nan", "protocol.lr=nan"),
        ("protocol.initial_size=1", "protocol.initial_size=1 must be 2 or more"),
        ("protocol.initial_size=900", "900 + 2 x 4 = 908 labels"),
        ("protocol.query_size=300", "12 + 2 x 300 = 612 labels"),
        ("protocol.query_size=0", "protocol.query_size=0"),
        ("protocol.max_pixels=15", "protocol.max_pixels=15 has 15 candidates; raise protocol.max_pixels, or lower"),
        ("protocol.min_per_class=5", "protocol.min_per_class=5"),
        ("protocol.stem=s3", "choose one of s1, s2, s1_pool, s2_pool"),
        ("protocol.lr_warm_up=2", "protocol.lr_warm_up=2.0 must be between 0 and 1"),
        ("protocol.lr_warm_up=0.1 protocol.schedule=one_cycle", "protocol.schedule=one_cycle has its own warm-up"),
        ("protocol.label_smoothing=1", "protocol.label_smoothing=1.0 must be at least 0 and below 1"),
        ("protocol.average_weights=-0.1", "protocol.average_weights=-0.1 must be at least 0 and below 1"),
        ("protocol.augment=often", "protocol.augment"),
        ("protocol.schedule=linear", "choose one of constant, cosine, one_cycle"),
        ("protocol.initial=stratified protocol.rounds=-1", "protocol.rounds=-1"),
        ("protocol.initial=some", "choose one of uniform, per_class, stratified"),
        ("split.fraction=1", "split.fraction=1"),
        ("split=blocks split.block_size=1", "change split.block_size, or lower split.guard (by default patch_size)."),
        ("split=fields split.guard=60", "every class is one field: take split=blocks."),
        ("split=blocks split.guard=60", "a guard of 60 x 60 pixels around candidates; change split.block_size"),
        (
            "split=holdout split.guard=9",
            "split.guard=9 keeps test pixels away from candidates, which split=holdout mixes",
        ),
        ("split=blocks split.guard=0", "split.guard=0 must be 1 or more"),
        ("split.fold=1", "split.fold=1 numbers divisions, but split=paper divides nothing; leave out split.fold"),
        (
            "split=fields split.fraction=0.1",
            "split.fraction=0.1 has no effect with split=fields; leave it out, or take",
        ),
        ("split=holdout split.block_size=20", "or take split=blocks or checkerboard."),
        ("protocol.per_class=5 protocol.min_per_class=2", "protocol.per_class=5 draws equally many of every class"),
        ("protocol.per_class=5 protocol.initial=stratified", "leave them out, or protocol.per_class."),
        ("split=holdout split.fold=-1", "split.fold=-1 must be 0 or more"),
        ("patch_size=51", "patch_size=51 is larger than mirror padding of a 24x26 scene allows"),
        ("patch_size=8", "patch_size=8 is too small for lenet"),
        ("patch_size=24 protocol.stem=s2_pool backbone=densenet121", "patch_size=24 is too small for densenet121"),
        ("trainer.accelerator=quantum", "choose one of auto, cpu, gpu, cuda, mps"),
        ("trainer.compile=maybe", "trainer.compile=maybe is unknown; choose one of auto, on, off"),
        ("trainer.predict_precision=8", "choose one of 32-true, tf32, bf16-mixed, 16-mixed"),
        ("trainer.threads=0", "trainer.threads=0 must be 1 or more"),
        ("seed=-1", "seed=-1 must be 0 or more"),
        ("protocol.initial=kmeans protocol.min_per_class=1", "protocol.initial=kmeans ignores labels"),
        ("acquisition=none", "acquisition=none never queries, but protocol.rounds=2"),
        ("acquisition=loss_prediction", "The backbone lenet can't give predicted_loss_N"),
        ("acquisition=clairvoyance", "There is no acquisition 'clairvoyance'"),
        ("dataset.name=a/b", "dataset.name='a/b' names a folder"),
        ("dataset.classes=[2,77]", "[77]"),
        ("dataset.classes=[2]", "class"),
        ("hydra.run.dir=/dev/null/run", "Not a directory: /dev/null/run"),
        ("dataset=pavia_university", "http://127.0.0.1:9/e/ee/PaviaU.mat can't be downloaded"),
        ("dataset=ksc", "put KSC.mat and KSC_gt.mat from https://www.ehu.eus/"),
        ("dataset=toulouse", "The scene toulouse needs dataset.cube_file=<file>"),
        ("dataset=salinas data_dir=/nowhere", "data_dir=/nowhere is no folder"),
        ("dataset.cube_key=absent", "absent"),
        ("dataset.cube_file=/nowhere/cube.mat", "/nowhere/cube.mat"),
        ("dataset.cube_file=/", "/"),
        ("just_a_word", "just_a_word"),
        ("backbone.dropout=1", "backbone.dropout=1"),
        ("acquisition.subset=0", "acquisition.subset=0"),
        ("acquisition.min_distance=0", "acquisition.min_distance=0 must be 1 or more"),
        ("acquisition=bald acquisition.draws=1", "acquisition.draws=1 must be 2 or more"),
        ("acquisition.draws=8", "acquisition=entropy doesn't take acquisition.draws"),
        ("acquisition=core_set acquisition.radius=1", "acquisition=core_set doesn't take acquisition.radius"),
        ("acquisition=prob_cover acquisition.radius=3", "acquisition.radius=3.0 must be between 0 and 2"),
        ("acquisition=none protocol.rounds=0 acquisition.class_balance=true", "acquisition=none doesn't take"),
        ("acquisition.score=math.sin", "acquisition=entropy has a score already"),
        ("acquisition=badge acquisition.score=math.sin", "acquisition=badge doesn't take acquisition.score"),
        ("acquisition.name=mine acquisition.score=math.sine", "acquisition.score=math.sine is no function"),
        ("acquisition.name=mine acquisition.score=sine", "acquisition.score=sine is no function"),
        ("acquisition.name=mine acquisition.score=math.sin", "its arguments must be among embeddings_ND, mc_prob"),
        ("acquisition=loss_prediction_diverse", "The backbone lenet can't give predicted_loss_N"),
        (
            "acquisition=loss_prediction_diverse protocol.batch_size=5 backbone=resnet18",
            "batch_size=5 is odd",
        ),
        ("learner.detach=2", "learner.detach=2"),
        ("dataset.bands={400:1340}", "is no list of bands; give numbers from 0"),
        ("dataset.class_names=corn", "dataset.class_names=corn names no classes; give a list of names"),
        ("dataset.class_names=[corn,3]", "dataset.class_names=['corn', 3] names no classes"),
        ("dataset.class_names={corn:3}", "dataset.class_names={'corn': 3} names no classes"),
        ("dataset.class_names=[a,b]", "holds 2 names, but tiny has the 3 label values [2, 5, 9]"),
        ("learner.margin=inf", "learner.margin=inf"),
        ("learner.name=svc", "learner.name=svc is unknown; choose one of cae3d_svm, cnn3d"),
        ("protocol.name=a/b", "protocol.name='a/b' names a folder"),
        ("split=holdout split.fraction=0.9999", "split=holdout leaves no test pixels of tiny"),
        ("trainer.precision=16-mixed", "trainer.precision=16-mixed needs a GPU"),
        ("dataset=indian_pines dataset.ground_truth_file=/x.npy", "dataset.ground_truth_file can't be changed"),
    ],
)
def test_bad_settings(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, arguments: str, words: str
) -> None:
    given = [argument for argument in arguments.split() if "=" in argument]
    replaced = {argument.split("=")[0] for argument in given}
    kept = [argument for argument in tiny_scene if argument.split("=")[0] not in replaced]
    if given and given[0].startswith("dataset=") and "custom" not in given[0]:
        kept = [argument for argument in kept if not argument.startswith("dataset.")]
    outcome = command_line(*kept, *arguments.split())
    check_refused(outcome.code, outcome.err, words, tmp_path)


def test_an_argument_that_needs_quotes_is_shown_with_them(command_line: CommandLine, tmp_path: Path) -> None:
    outcome = command_line("dataset=custom", "dataset.cube_file=field (1).npy", "protocol=smoke")
    check_refused(outcome.code, outcome.err, """write 'dataset.cube_file="field (1).npy"'.""", tmp_path)
    outcome = command_line("dataset=custom", 'dataset.cube_file="field (1).npy"', "protocol=smoke")
    check_refused(outcome.code, outcome.err, "field (1).npy", tmp_path)


def test_custom_needs_a_file(command_line: CommandLine, tmp_path: Path) -> None:
    outcome = command_line("dataset=custom", "protocol=smoke")
    check_refused(outcome.code, outcome.err, "needs dataset.cube_file=<file>", tmp_path)


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="this machine has a GPU")
def test_a_missing_gpu(command_line: CommandLine, tiny_scene: list[str], tmp_path: Path) -> None:
    outcome = command_line(*tiny_scene[:-1], "trainer.accelerator=gpu")
    check_refused(outcome.code, outcome.err, "trainer.accelerator=gpu", tmp_path)


def empty_file(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    path.write_bytes(b"")
    return []


def truncated_file(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return []


def text_file(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    path.write_text("not a scene")
    return []


def other_size(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    scipy.io.savemat(path, {"cube": cube, "truth": truth[:-1]})
    return ["(24, 26, 6)", "(23, 26)"]


def two_dimensional(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    scipy.io.savemat(path, {"cube": cube[:, :, 0], "truth": truth})
    return ["(24, 26)"]


def not_a_number(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    broken = cube.astype(float)
    broken[0, 0, 0] = np.nan
    scipy.io.savemat(path, {"cube": broken, "truth": truth})
    return ["NaN"]


def infinite(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    broken = cube.astype(float)
    broken[3, 4, 5] = np.inf
    scipy.io.savemat(path, {"cube": broken, "truth": truth})
    return ["infinite"]


def no_labels(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    scipy.io.savemat(path, {"cube": cube, "truth": truth * 0})
    return ["tiny"]


def one_class(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    scipy.io.savemat(path, {"cube": cube, "truth": np.where(truth == 5, 5, 0)})
    return ["tiny"]


def constant_cube(path: Path, cube: np.ndarray, truth: np.ndarray) -> list[str]:
    scipy.io.savemat(path, {"cube": cube * 0 + 7, "truth": truth})
    return ["tiny"]


@pytest.mark.parametrize(
    "breaker",
    [
        empty_file,
        truncated_file,
        text_file,
        other_size,
        two_dimensional,
        not_a_number,
        infinite,
        no_labels,
        one_class,
        constant_cube,
    ],
)
def test_bad_scene_files(command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, breaker: Breaker) -> None:
    path = tmp_path / "tiny.mat"
    words = breaker(path, *tiny_arrays()) or [str(path)]
    outcome = command_line(*tiny_scene)
    for word in words:
        check_refused(outcome.code, outcome.err, word, tmp_path)
    assert not (tmp_path / "outputs").exists()


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a scene and a run on it, cut off after its second round, are made once."""
    return tmp_path_factory.mktemp("cut_off")


@pytest.mark.parametrize("name", ["pool.h5", "curve.csv", "confusion.h5", "config.yaml", "meta.json", "weights_0.pt"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "noise"])
def test_damaged_run_files(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path, cut_off: Path, name: str, damage: str
) -> None:
    run = tmp_path / TINY_RUN
    scene = [*tiny_scene, f"dataset.cube_file={cut_off / 'tiny.mat'}"]
    if not (cut_off / "run").exists():
        shutil.copyfile(tmp_path / "tiny.mat", cut_off / "tiny.mat")
        unfinished_run(command_line, scene, run)
        run.rename(cut_off / "run")
    shutil.copytree(cut_off / "run", run)
    path = run / name
    content = path.read_bytes()
    noise = np.random.default_rng(0).bytes(len(content))
    path.write_bytes({"empty": b"", "truncated": content[: len(content) // 3], "noise": noise}[damage])
    outcome = command_line(*scene)
    assert outcome.code == 2, (outcome.out, outcome.err)
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    of_another = name == "config.yaml" and "holds a run of another configuration" in outcome.err
    assert str(path) in outcome.err or of_another


def unfinished_run(command_line: CommandLine, tiny_scene: list[str], run: Path) -> None:
    """A run cut off after its second round."""
    assert command_line(*tiny_scene).code == 0
    with h5py.File(run / "pool.h5", "r+") as file:
        labelled_at = file["labelled_at"][:]
        labelled_at[labelled_at == 2] = -1
        file["label"][labelled_at == -1] = 0
        file["labelled_at"][:] = labelled_at
        file.attrs["next_round"] = 1
    (run / "weights_2.pt").rename(run / "weights_0.pt")
    meta = json.loads((run / "meta.json").read_text()) | {"state": "running"}
    del meta["checksum"]  # as of versions that wrote no checksums, which are continued, too
    (run / "meta.json").write_text(json.dumps(meta))
    (run / "manifest.json").unlink()


def limited(size: int, *arguments: str) -> int:
    """The command line where no file may be larger."""
    sys.dont_write_bytecode = True  # it would leave cut files in the environment
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return command(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "warm"), [(500, "false"), (2500, "false"), (3500, "true")])
def test_a_full_disk(tiny_scene: list[str], tmp_path: Path, size: int, warm: str) -> None:
    process = Forked(limited, [size, *tiny_scene, f"protocol.warm_start={warm}"], tmp_path)
    _, err = process.communicate(timeout=60)
    check_refused(process.returncode, err, "File too large", tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))


def test_bad_input_leaves_the_users_files_alone(
    command_line: CommandLine, tiny_scene: list[str], tmp_path: Path
) -> None:
    mine, empty = tmp_path / "mine", tmp_path / "empty" / "folder"
    mine.mkdir()
    empty.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    for folder in (mine, empty):
        outcome = command_line(*tiny_scene, "protocol.rounds=900", f"hydra.run.dir={folder}")
        check_refused(outcome.code, outcome.err, "candidates", tmp_path)
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    assert empty.is_dir()
    (mine / "curve.csv").write_text("mine too")
    outcome = command_line(*tiny_scene, f"hydra.run.dir={mine}")
    assert outcome.code == 2
    assert "holds curve.csv but no config.yaml" in outcome.err
    assert (mine / "curve.csv").read_text() == "mine too"


def test_a_run_without_its_configuration_is_not_continued(command_line: CommandLine, tiny_scene: list[str]) -> None:
    assert command_line(*tiny_scene).code == 0
    (TINY_RUN / "config.yaml").unlink()
    outcome = command_line(*tiny_scene, "protocol.lr=0.1")
    assert outcome.code == 2
    assert "but no config.yaml" in outcome.err
    assert (TINY_RUN / "pool.h5").exists()

"""Time and memory of `learner=profile_trees`: against a plain script of the same maths, and against fixed targets."""

import sys
import tempfile
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.ndimage import gaussian_filter, grey_closing, grey_opening
from sklearn.ensemble import ExtraTreesClassifier

from experiments.benchmarks.measure import MEGABYTE, Row, command, medians, resident_memory
from hsi_al import interrupts
from hsi_al.active.experiment import Experiment
from hsi_al.active.meta import peak_memory_mb
from hsi_al.cli.composition import composed
from hsi_al.methods.features import FeatureLearner
from hsi_al.methods.profile_trees import ProfileTreesConfig, halo_of
from hsi_al.methods.profile_trees.extractor import ProfileExtractor
from hsi_al.methods.room import settings_in
from hsi_al.methods.strips import strips_of
from hsi_al.randomness import generator
from hsi_al.scenes.arrays import blocks

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
SALINAS, SALINAS_LABELLED = (512, 217, 204), 54_129
N_CLASSES, DISTANCE = 16, 8
MINUTE = 60
LEARNER = ("learner=profile_trees", "acquisition=margin", f"acquisition.min_distance={DISTANCE}")


def measure(
    n_labels: int = 480,
    large: tuple[int, int, int] = SALINAS,
    n_candidates: int = SALINAS_LABELLED,
    rounds: int = 46,
    mapped: tuple[int, int, int] = (1000, 1000, 100),
    lower: int = 400,
    repeats: int = 3,
) -> list[Row]:
    """Measure rounds, a run and a map of a scene that stays in its file.

    Args:
        n_labels: Labels of the rounds.
        large: Shape of the synthetic scene of the second kind of rounds.
        n_candidates: Its labelled pixels.
        rounds: Rounds of the run after the first one, of 10 labels each.
        mapped: Shape of the scene that is mapped.
        lower: Rows of a lower one, with whose peak memory that of the scene is compared.
        repeats: Repetitions of each round.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder / "large", large, n_candidates)
        scenes = {
            ("Indian Pines", 1.0): ["dataset=indian_pines", "split=holdout"],
            (f"{n_candidates:,} candidates", 3.0): scene_of(folder / "large"),
        }
        rows = [
            row
            for number, ((scene, target), overrides) in enumerate(scenes.items())
            for row in rounds_on(folder / f"rounds-{number}", scene, overrides, n_labels, target, repeats)
        ]
        (folder / "large.npy").unlink()
        rows += [run_of(folder / "run", rounds), *maps_of(folder, mapped, lower)]
    return rows


def write_scene(stem: Path, shape: tuple[int, int, int], n_labelled: int) -> None:
    """Write fields of noisy spectra to STEM.npy, strip by strip, and the classes of some pixels to STEM-truth.npy."""
    height, width, n_bands = shape
    rng = np.random.default_rng(0)
    spectra = rng.integers(1000, 8000, (N_CLASSES, n_bands))
    rows, columns = np.mgrid[:height, :width] // 20
    classes = (7 * rows + columns) % N_CLASSES
    cube = np.lib.format.open_memmap(stem.with_suffix(".npy"), "w+", np.uint16, shape)
    for first, last in blocks(height, 100):
        noise = rng.integers(0, 2000, (last - first, width, n_bands), dtype=np.uint16)
        cube[first:last] = spectra[classes[first:last]] + noise
    cube.flush()
    truth = np.zeros(height * width, np.uint8)
    chosen = rng.choice(height * width, n_labelled, replace=False)
    truth[chosen] = classes.ravel()[chosen] + 1
    np.save(f"{stem}-truth.npy", truth.reshape(height, width))


def scene_of(stem: Path) -> list[str]:
    """Return the overrides for a scene of `write_scene`."""
    return ["dataset=custom", f"dataset.cube_file='{stem}.npy'", f"dataset.ground_truth_file='{stem}-truth.npy'"]


def rounds_on(
    path: Path, scene: str, overrides: Sequence[str], n_labels: int, target: float, repeats: int
) -> list[Row]:
    """Return rows for the features and for a later round on a scene: against the plain script, and their seconds."""
    protocol = ["protocol=few", "protocol.initial=uniform", f"protocol.initial_size={n_labels}", "protocol.rounds=1"]
    config, _ = composed([*overrides, *protocol, *LEARNER])
    path.mkdir()
    experiment = Experiment(config, path, Console(quiet=True))
    parts, threads = experiment.parts, experiment.threads
    learner, cube, settings = parts.learner, parts.scene.cube, settings_in(config, ProfileTreesConfig)
    assert isinstance(learner, FeatureLearner) and isinstance(cube, np.ndarray)
    none = np.empty(0, np.int64)

    def our_features() -> Floats:
        extractor = ProfileExtractor(cube, settings, config.dataset.memory_gb, threads)
        extractor.fit(none, none, np.random.default_rng(0))
        return extractor.features(np.arange(cube.shape[0] * cube.shape[1]))

    loop = replace(parts.loop(), rounds=1)

    def our_round() -> Ids:
        played = replace(loop, pool=deepcopy(parts.pool))
        played.play(0)
        return np.setdiff1d(played.pool.labelled_ids, parts.pool.labelled_ids)

    features = plain_features(cube, settings)
    if not np.allclose(features, our_features(), atol=1e-3):
        raise RuntimeError("Both ways must give the same features.")
    queried = our_round()
    assert learner.fitted is not None and learner.extractor.once
    plain = PlainRound(
        learner.extractor.features(np.arange(len(features))),  # equal to the last bit, so that queries can be compared
        parts.pool.labelled_ids,
        parts.pool.labels,
        parts.split.scored_ids,
        parts.pool.candidates,
        *(parts.scene.width, settings.trees, learner.fitted[2], config.protocol.query_size),
    )
    if not np.array_equal(plain(threads=1), queried):
        raise RuntimeError("Both ways must select the same pixels.")
    busy = partial(medians, repeats=repeats, clock=time.process_time)
    features_busy = busy(partial(plain_features, cube, settings), our_features)
    round_busy = busy(partial(plain, threads), our_round)
    feature_seconds, round_seconds = medians(our_features, our_round, repeats)
    first = feature_seconds + round_seconds
    size = "x".join(map(str, cube.shape))
    what = f"a round, {scene}, {n_labels} labels"
    return [
        against_plain(f"{features.shape[1]} features, {scene} ({size})", *features_busy),
        against_plain(what, *round_busy),
        Row(what, f"{target:g} s", f"{round_seconds:.2f} s", round_seconds / target, "<= 1"),
        Row(f"the first round with its features, {scene}", f"{target:g} s", f"{first:.2f} s", first / target, "<= 1"),
    ]


def against_plain(what: str, theirs: float, ours: float) -> Row:
    """Return the row for seconds of the processor against those of a plain script."""
    return Row(what, f"plain script {theirs:.2f} s of the processor", f"{ours:.2f} s", ours / theirs, "<= 1.1")


def plain_features(cube: NDArray[Any], settings: ProfileTreesConfig) -> Floats:
    """Return the features of a whole scene, (pixels, D), as a script would that uses NumPy and SciPy alone."""
    height, width, n_bands = cube.shape
    spectra = cube.reshape(-1, n_bands).astype(np.float64)
    spectra = (spectra - spectra.mean(axis=0)) / spectra.std(axis=0)
    axes = np.linalg.eigh(spectra.T @ spectra / len(spectra))[1][:, ::-1][:, : settings.components]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    maps = (spectra @ axes).T.reshape(-1, height, width).astype(np.float32)
    found = [*maps, *(gaussian_filter(map_, sigma) for sigma in settings.sigmas for map_ in maps)]
    for map_ in maps[: settings.profile_components]:
        for radius in settings.radii:
            found += [f(map_, size=(2 * radius + 1,) * 2) for f in (grey_opening, grey_closing)]
    features: Floats = np.stack(found, axis=-1).reshape(height * width, -1)
    features -= features.mean(axis=0, dtype=np.float64).astype(np.float32)
    features /= features.std(axis=0)
    return features


@dataclass(frozen=True)
class PlainRound:
    """A round as a script would do it that uses NumPy and scikit-learn alone.

    Attributes:
        features: Features of all pixels, (pixels, D).
        labelled: Labelled pixel ids, (n,).
        labels: Their class indices, (n,).
        scored: Pixel ids whose class is predicted, ascending.
        candidates: Pixel ids that may be labelled.
        width: Columns of the scene.
        trees: Number of trees.
        seed: Seed of the generator that the forest's own seed is drawn from.
        query_size: Pixels per query.
    """

    features: Floats
    labelled: Ids
    labels: Ids
    scored: Ids
    candidates: Ids
    width: int
    trees: int
    seed: int
    query_size: int

    def __call__(self, threads: int) -> Ids:
        """Return the pixel ids of the query, ascending; with several threads probabilities may differ in a last bit."""
        seed = int(np.random.default_rng(self.seed).integers(2**31))
        forest = ExtraTreesClassifier(self.trees, random_state=seed)
        forest.fit(self.features[self.labelled], self.labels).set_params(n_jobs=threads)
        probabilities = forest.predict_proba(self.features[self.scored]).astype(np.float32)
        predicted = probabilities.argmax(axis=1)
        assert len(predicted) == len(self.scored)
        free = np.setdiff1d(self.candidates, self.labelled)
        top = np.sort(probabilities[np.searchsorted(self.scored, free)].astype(np.float64), axis=1)
        ties = generator(0, "query", 0).permutation(len(free))
        picked: list[int] = []
        for pixel in free[np.lexsort((ties, top[:, -1] - top[:, -2]))].tolist():
            row, column = divmod(pixel, self.width)
            if all(max(abs(row - p // self.width), abs(column - p % self.width)) >= DISTANCE for p in picked):
                picked.append(pixel)
                if len(picked) == self.query_size:
                    break
        return np.sort(picked)


def run_of(path: Path, rounds: int) -> Row:
    """Return the row for the command of a run on Indian Pines, from its start to its end."""
    start = time.perf_counter()
    command(
        "hsi_al.run", *LEARNER, "protocol=few", "split=holdout", f"protocol.rounds={rounds}", f"hydra.run.dir='{path}'"
    )
    seconds = time.perf_counter() - start
    what = f"a run of {rounds + 1} rounds to {20 + 10 * rounds} labels, Indian Pines, with maps and pictures"
    return Row(what, f"{MINUTE} s", f"{seconds:.1f} s", seconds / MINUTE, "<= 1")


def maps_of(folder: Path, shape: tuple[int, int, int], lower: int) -> list[Row]:
    """Return rows for the seconds and the peak memory of mapping a scene that stays in its file, by two threads.

    The peak is that above the imports. It is compared with values and features of a strip, and with the peak of a lower
    scene: both would be far exceeded if it grew with the scene.
    """
    height, width, n_bands = shape
    write_scene(folder / "small", (60, 60, n_bands), 2000)
    run = folder / "small-run"
    keys = ["protocol=few", "protocol.rounds=0", "trainer.threads=2", f"hydra.run.dir='{run}'"]
    command("hsi_al.run", *scene_of(folder / "small"), *LEARNER, *keys)
    found = []
    for rows in (lower, height):
        write_scene(folder / f"mapped-{rows}", (rows, width, n_bands), 0)
        cube = folder / f"mapped-{rows}.h5"  # pages of a .npy file that were read would count as this process's memory
        with h5py.File(cube, "w") as file:
            file["cube"] = np.load(cube.with_suffix(".npy"), mmap_mode="r")
        cube.with_suffix(".npy").unlink()
        printed = command("experiments.benchmarks.profiles", str(run), str(cube))
        found.append([float(word) for word in printed.split()[-3:]])
        cube.unlink()
    settings = settings_in(composed(["dataset=indian_pines", *LEARNER])[0], ProfileTreesConfig)
    extractor = ProfileExtractor(np.zeros((height, width, n_bands), np.bool_), settings, 0.0)
    strip = max(strips_of(shape, halo_of(settings)), key=lambda strip: strip.bottom - strip.top)
    pixels, own = (strip.bottom - strip.top) * width, (strip.last - strip.first) * width
    strip_mb = 4 * (pixels * (n_bands + extractor.n_features) + own * extractor.n_features) / MEGABYTE
    (_, less, _), (seconds, peak, gap) = found
    what = f"a map of {height * width:,} pixels of {n_bands} bands in their file"
    scene_mb = 4 * height * width * (n_bands + extractor.n_features) / MEGABYTE
    return [
        Row(what, f"{MINUTE} s", f"{seconds:.1f} s", seconds / MINUTE, "<= 1"),
        Row(
            f"peak memory, {what}",
            f"values and features of a strip, {strip_mb:.0f} MB (of the scene {scene_mb:.0f} MB)",
            f"{peak:.0f} MB above imports",
            peak / strip_mb,
            "<= 1.5",
        ),
        Row(
            f"peak memory, {what}", f"{lower} rows {less:.0f} MB", f"{height} rows {peak:.0f} MB", peak / less, "<= 1.2"
        ),
        Row(f"longest time without a look for an interrupt, {what}", "10 s", f"{gap:.1f} s", gap / 10, "<= 1"),
    ]


def main() -> None:
    """In the child process: map a cube by a finished run.

    Print the seconds, the peak memory above the imports in MB, and the longest time between two looks for an interrupt.
    """
    import sklearn.ensemble  # noqa: F401  # an import of the learner's

    from hsi_al.predict import predict

    before = resident_memory()
    began = time.perf_counter()
    looks = [began]
    interrupts.check = lambda: looks.append(time.perf_counter())
    predict(Path(sys.argv[1]), Path(sys.argv[2]))
    ended = time.perf_counter()
    print(ended - began, (peak_memory_mb() or 0) - before, np.diff([*looks, ended]).max())


if __name__ == "__main__":
    main()

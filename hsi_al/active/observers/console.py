"""Console output before the first round of a run and after its last."""

from pathlib import Path

import numpy as np
from rich.console import Console

from hsi_al.active.observers.progress import duration
from hsi_al.active.parts import Parts, guard_of
from hsi_al.active.run_directory import RunDirectory
from hsi_al.config.schema import COMPLETE_MAP, GIVEN, NEW_GROUND, NEW_LABELS, Config, question_of
from hsi_al.methods.base import Estimate
from hsi_al.methods.registry import method_of
from hsi_al.pool.splits import field_sizes
from hsi_al.report.classes import NAME, print_classes
from hsi_al.report.run_files import read_meta
from hsi_al.report.tables import format_rounds, print_table, read_curve, shortened
from hsi_al.scenes.scene import Scene
from hsi_al.terminal import warn

MOST_CLASSES = 40  # that are listed
SIDES = {"candidates": "candidates", "test": "test pixels"}
POINT = 4  # pixels of a field that may as well be a point
FEW = 0.05  # of the labelled pixels: a smaller test side gets a warning


def announce_scene(console: Console, scene: Scene) -> None:
    """Print the first lines of a run: name, size and classes of the scene, and what is suspicious about it."""
    console.print(
        f"{scene.name}: {scene.height} x {scene.width} pixels, {scene.n_bands} bands, {scene.n_classes} classes, "
        f"{len(scene.labelled_ids):,} labelled pixels" + (f", licence: {scene.licence}" if scene.licence else "")
    )
    counts = scene.class_counts
    listed = "; ".join(f"{value} {shortened(name, NAME)} {count:,}" for value, name, count in counts[:MOST_CLASSES])
    more = f"; and {len(counts) - MOST_CLASSES} more" if len(counts) > MOST_CLASSES else ""
    console.print(f"Classes (label, name, pixels): {listed}{more}")
    for notice in scene.notices:
        console.print(notice)


def announce(console: Console, parts: Parts[RunDirectory], threads: int) -> Estimate:
    """Print a summary of the run with its estimated time, measured on this machine, and return the estimate.

    Args:
        console: Console for all output.
        parts: The parts of the run.
        threads: Number of CPU threads per process.
    """
    config, scene, protocol, say = parts.config, parts.scene, parts.config.protocol, console.print
    say(f"{parts.title()}; learner: {parts.learner.describe()}")
    for side, missing in parts.missing().items():
        if missing:
            names = ", ".join(shortened(scene.class_names[value], NAME) for value in missing[:MOST_CLASSES])
            names += f" and {len(missing) - MOST_CLASSES:,} more" if len(missing) > MOST_CLASSES else ""
            classes = "1 class has" if len(missing) == 1 else f"{len(missing):,} classes have"
            say(f"{classes} no {SIDES[side]} in this split, so AA on them omits: {names}")
    question = question_of(parts.split.kind, parts.split.new_ground is not None)
    say(f"Question that split={parts.split.kind} asks: {question}")
    if question == GIVEN:
        named = config.dataset.test_file or "the published test labels"
        say(f"{len(parts.split.test):,} pixels of {named} test the learner.")
    elif question != COMPLETE_MAP:
        window = method_of(config).window(config) or 0
        if question == NEW_LABELS:
            say(
                f"Initial labels lie on one side, which has {len(parts.split.initial):,} candidates; on the other side "
                f"queries ask among {len(parts.split.asked):,} pixels, and {len(parts.split.test):,} between these "
                "test the learner."
            )
        else:
            say(guard_sentence(config))
        if question == NEW_GROUND and parts.split.kind != "fields" and window > guard_of(config):
            warn(
                f"split.guard={config.split.guard} is smaller than this learner's patches of {window} x {window} "
                "pixels, so that training patches hold test pixels."
            )
        n_labelled = len(scene.labelled_ids)
        if few := few_test_pixels(len(parts.split.test), min(n_labelled, protocol.max_pixels or n_labelled)):
            warn(few)
        if parts.split.kind == "fields" and (single := points_as_fields(scene)):
            warn(single)
    remaining = range(parts.first_round, parts.rounds + 1)
    initial = parts.n_initial
    sizes = [(round_, initial + round_ * protocol.query_size) for round_ in remaining]
    say(
        f"Labels: {initial} + {protocol.rounds} x {protocol.query_size} = "
        f"{initial + protocol.rounds * protocol.query_size} of {len(parts.split.candidates):,} "
        "candidates" + (f"; continuing at round {parts.first_round}" if parts.first_round else "")
    )
    if told := unfair_labels(config, initial + protocol.rounds * protocol.query_size, len(parts.split.scored_ids)):
        warn(told)
    if parts.labels_from is not None:
        source = parts.labels_from
        say(f"Initial labels: {source['labels']:,} of {source['path']}, asked by {source['asked_by']}")
    n_scored, n_pixels = len(parts.split.scored_ids), scene.height * scene.width
    n_mapped = n_pixels - (n_scored if sizes else 0) if protocol.full_map else 0
    estimate = parts.learner.estimate(parts.pool.labelled_ids, parts.pool.labels, sizes, n_scored, n_mapped)
    batch_size = method_of(config).batch_size
    if batch_size is not None and batch_size(config) > initial and parts.first_round == 0:
        say(f"Batches of {batch_size(config)} are clamped to the {initial} labels at first.")
    seconds = f": about {duration(estimate.total_seconds)}" if estimate.measured else ""
    device, processes = str(parts.learner.device), ""
    if parts.ranks.size > 1:
        device, processes = device.partition(":")[0], f" in {parts.ranks.size} processes"
    say(f"Work: {estimate.work}{seconds} on {device}{processes} with {threads} threads{' each' if processes else ''}")
    if parts.asker is not None:
        fits = parts.asker.steps(protocol.query_size)
        say(
            f"Asks in its place: {parts.asker.learner.describe()}, fitted {fits} time{'s' if fits > 1 else ''} a query "
            f"for {min(parts.asker.step, protocol.query_size)} labels each; the seconds of this come on top"
        )
    for line in parts.stopping.describe():
        say(line)
    say(f"Run directory: {short_path(parts.records.path)}")
    return estimate


def unfair_labels(config: Config, budget: int, n_scored: int) -> str:
    """Return a warning if a run's accuracies say nothing about its map; else ''.

    Args:
        config: The configuration.
        budget: Labels after the last round.
        n_scored: Pixels that accuracies are counted on.
    """
    if config.split.kind == "paper" and budget >= n_scored:
        return (
            f"All {n_scored:,} labelled pixels are learnt from in the end, so the accuracies say nothing about the "
            "rest of the map; split=holdout keeps a half for testing, and an accuracy check in the browser draws a "
            "fair sample."
        )
    if config.dataset.labels is not None:
        return (
            "The labels of a session were asked where its model was unsure: accuracies on them are not those of the "
            "map; an accuracy check in the browser draws a fair sample."
        )
    return ""


def guard_sentence(config: Config) -> str:
    """Return what a split by places keeps apart, given its guard and the patches that the learner cuts."""
    side, window = guard_of(config), method_of(config).window(config)
    if window is not None and window <= side:
        return "No patch of a candidate holds a test pixel; patches of both sides may share background pixels."
    apart = f"No test pixel lies in the {side} x {side} pixels around a candidate"
    if side == 1:
        apart = "No guard lies between candidates and test pixels"
    if window is None:
        return f"{apart}; this learner cuts no patches, and its features may use neighbours farther away."
    return f"{apart}; this learner's patches of {window} x {window} pixels may hold test pixels."


def points_as_fields(scene: Scene) -> str:
    """Return a warning if most labelled pixels lie in regions of a few pixels, as points do; else an empty text."""
    ids = scene.labelled_ids
    sizes = field_sizes(ids, scene.labels_of(ids), (scene.height, scene.width))
    share = float(np.mean(sizes <= POINT))
    if share <= 0.5:
        return ""
    return (
        f"{share:.0%} of the labelled pixels lie in fields of {POINT} pixels or fewer, as points do: test pixels may "
        "lie right beside those that were learnt from, and this is hardly ground without labels; take split=blocks, or "
        "set split.guard."
    )


def few_test_pixels(n_test: int, n_labelled: int) -> str:
    """Return a warning if a split by places leaves less than `FEW` of the labelled pixels for testing; else ''."""
    if n_test >= FEW * n_labelled:
        return ""
    return (
        f"only {n_test:,} of {n_labelled:,} labelled pixels test the learner, so that accuracies on them say little; "
        "change split.block_size, lower split.guard (by default patch_size), or take split=fields."
    )


def print_report(path: Path, console: Console) -> None:
    """Print the table of rounds of a finished run, and the paths of its pictures and its report."""
    meta = read_meta(path)
    console.print(meta.title)
    print_table(format_rounds(read_curve(path)))
    print_classes(path, meta)
    if meta.stopped:
        console.print(f"Stopped early: {meta.stopped}.")
    if meta.overlap is not None:
        console.print(meta.overlap.sentence())
    if meta.filtered is not None:
        names = {
            "oa_all": "OA",
            "oa_heldout": "OA held-out",
            "kappa_heldout": "kappa held-out",
            "changed": "pixels changed",
        }
        numbers = [f"{text} {100 * meta.filtered[key]:.2f} %" for key, text in names.items() if key in meta.filtered]
        console.print(f"The filtered map, which is no part of the method: {', '.join(numbers)}.")
    for file in (*sorted((path / "figures").glob("*.png")), *path.glob("report.html")):
        console.print(short_path(file))


def short_path(path: Path) -> str:
    """Return a path relative to the working directory if it lies inside, else unchanged."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

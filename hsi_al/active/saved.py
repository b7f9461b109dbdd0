"""A run that was played in memory, written as the command line leaves one."""

import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hsi_al.active.map_files import write_maps
from hsi_al.active.meta import MetaFile
from hsi_al.active.parts import Parts
from hsi_al.active.records import Records
from hsi_al.active.run_directory import RunDirectory
from hsi_al.config.kept import to_yaml
from hsi_al.errors import RunDirectoryError, left_out
from hsi_al.methods.registry import method_of
from hsi_al.pool.label_pool import UNLABELLED, LabelPool
from hsi_al.scenes.checksums import data_checksums
from hsi_al.terminal import warn
from hsi_al.training.ranks import available_threads

Ids = NDArray[np.int64]
COMMAND = "hsi_al.Experiment.save"


def save(parts: Parts[Records], predicted_class: Ids | None, stopped: str | None, began: float, folder: Path) -> None:
    """Write the rounds so far as a finished run; the parts stay as they are.

    Args:
        parts: The parts of the run after one of its rounds.
        predicted_class: Class indices that this round predicted for `split.scored_ids`.
        stopped: Why it ends before `parts.rounds`; None = it was the last one.
        began: Start of the experiment, in seconds of `time.monotonic`.
        folder: The run directory, which is created.

    Raises:
        RunDirectoryError: There is such a folder, and it isn't empty; or a file of that name.
        OSError: A file can't be written. What was written is removed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunDirectoryError(f"{folder} exists and isn't empty; name a folder that doesn't exist.")
    config, rows = parts.config, parts.records.rows
    last = len(rows) - 1
    pool = LabelPool(parts.pool.candidates)
    asked = parts.pool.labelled_at <= last  # the others are the query of a round that wasn't played
    pool.labelled_at = np.where(asked, parts.pool.labelled_at, UNLABELLED)
    pool.label = np.where(asked, parts.pool.label, UNLABELLED)
    try:
        directory = RunDirectory(folder, parts.scene.label_values, method_of(config).state_suffix)
        directory.rows, directory.confusions = rows, parts.records.confusions
        directory.predicted = parts.records.predicted
        written = cast("Parts[RunDirectory]", replace(parts, records=directory, pool=pool))
        if stopped is not None:
            written.stop(stopped)
        meta = MetaFile(written, config.trainer.threads or available_threads(), began, COMMAND)
        directory.write_config(to_yaml(config), data_checksums(parts.scene))
        meta.write("running")
        directory.write_round(last, (last, int(rows[-1]["n_labelled"])), pool, parts.learner, last=True)
        if config.protocol.full_map:
            write_maps(written, meta, predicted_class, defaultdict(float))
        with left_out(f"The pictures of {folder}", warn):
            from hsi_al.report import figures

            figures.draw(folder, warn=warn)
        meta.write("finished")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise

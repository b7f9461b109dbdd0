"""The files of a run, in formats readable without this package; committed rounds survive a kill at any moment."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al.active.curve import RoundRecord
from hsi_al.errors import PoolError, RunDirectoryError
from hsi_al.files import replacing, replacing_hdf5
from hsi_al.methods.base import Learner
from hsi_al.pool.label_pool import LabelPool

Ids = NDArray[np.int64]
Labels = NDArray[np.integer[Any]]
ROUND_FILES = ("meta.json", "curve.csv", "confusion.h5", "pool.h5")
# Raised by h5py, csv, json and numpy on truncated or overwritten files.
DAMAGE = (OSError, LookupError, ArithmeticError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError)


class RunDirectory:
    """One run's folder.

    Committing a round replaces these files atomically, in this order: weights (with warm start, or in the last round),
    confusion.h5, curve.csv, and pool.h5, which is the commit point: it holds the number of the next round, at which a
    run continues.

    Args:
        path: The folder; created if missing.
        label_values: Original value of every class index, (C,).

    Attributes:
        predicted: Class index predicted for every candidate in the latest round, (N,), or None; written to pool.h5
            unless None, because a stopping rule compares the next round with it.
    """

    def __init__(self, path: Path, label_values: Ids) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.label_values = label_values
        self.rows: list[dict[str, float]] = []
        self.confusions: list[tuple[Ids, Ids]] = []
        self.predicted: Ids | None = None

    def restore(self, pool: LabelPool) -> int:
        """Read the committed labels into an empty pool and the committed rounds into memory.

        Returns:
            The round to run next, 0 for a new run.

        Raises:
            RunDirectoryError: A file is corrupted, or belongs to another scene or split.
        """
        path = self.path / "pool.h5"
        if not path.exists():
            return 0
        with reading(path), h5py.File(path) as file:
            pixel_id, labelled_at, label = (file[name][:] for name in ("pixel_id", "labelled_at", "label"))
            predicted = file["predicted"][:] if "predicted" in file else None
            next_round = int(file.attrs["next_round"])
        if not np.array_equal(pixel_id, pool.candidates):
            raise RunDirectoryError(
                f"{path} holds other candidates than this scene and split; the data or the code changed: "
                "delete the run directory to start anew."
            )
        with reading(path):
            for round_ in np.unique(labelled_at[labelled_at >= 0]).tolist():
                chosen = labelled_at == round_
                if not np.isin(label[chosen], self.label_values).all():
                    raise PoolError(f"a label is none of {self.label_values.tolist()}")
                pool.add(pixel_id[chosen], np.searchsorted(self.label_values, label[chosen]), round_)
            if predicted is not None:
                self.predicted = np.searchsorted(self.label_values, predicted)
        self._read_rounds(next_round)
        return next_round

    def commit(self, record: RoundRecord, pool: LabelPool, learner: Learner, last: bool) -> None:
        """Write a finished round; a kill before pool.h5 is replaced leaves the previous round as the committed one.

        Args:
            record: Results of the round.
            pool: Candidates and labels, those of the round's query included.
            learner: Its state is saved for a warm start, and in the last round.
            last: Whether this is the last round of the run.

        Raises:
            OSError: The disk is full or the folder can't be written.
        """
        self.rows.append(record.row(self.label_values))
        self.confusions.append((record.confusion_all, record.confusion_heldout))
        if learner.warm or last:
            learner.save(self.weights(record.round))
        self._write_confusions()
        self._write_curve()
        self._write_pool(pool, record.round + 1)
        for old in set(self.path.glob("weights_*.pt")) - {self.weights(record.round)}:
            old.unlink()

    def weights(self, round_: int) -> Path:
        """Return the path of the learner's state after a round."""
        return self.path / f"weights_{round_}.pt"

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Replace meta.json by the given content."""
        with replacing(self.path / "meta.json") as temporary:
            temporary.write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")

    def write_predictions(self, class_map: Labels, ground_truth: Labels, rgb: NDArray[np.uint8]) -> None:
        """Write predictions.h5: maps of original label values (H, W), 0 = background, and false colour (H, W, 3)."""
        kind = np.min_scalar_type(int(max(class_map.max(), ground_truth.max())))
        with replacing_hdf5(self.path / "predictions.h5") as file:
            for name, array in (("class_map", class_map), ("ground_truth", ground_truth)):
                file.create_dataset(name, data=array.astype(kind, copy=False), compression="gzip")
            file.create_dataset("rgb", data=rgb, compression="gzip")

    def _read_rounds(self, next_round: int) -> None:
        """Read the rounds before `next_round` from curve.csv and confusion.h5; later ones were not committed."""
        path = self.path / "curve.csv"
        with reading(path), path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["round"] < next_round]
        path = self.path / "confusion.h5"
        with reading(path), h5py.File(path) as file:
            pairs = zip(file["all"][:next_round], file["heldout"][:next_round], strict=True)
            self.confusions = list(pairs)
        if not len(self.rows) == len(self.confusions) == next_round:
            raise RunDirectoryError(
                f"{self.path / 'curve.csv'} has {len(self.rows)} rounds and confusion.h5 {len(self.confusions)}, but "
                f"pool.h5 says {next_round}; delete the run directory to start anew."
            )

    def _write_curve(self) -> None:
        with replacing(self.path / "curve.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            for row in self.rows:
                writer.writerow(row | {name: int(row[name]) for name in ("round", "n_labelled")})

    def _write_confusions(self) -> None:
        with replacing_hdf5(self.path / "confusion.h5") as file:
            for index, name in enumerate(("all", "heldout")):
                stacked = np.stack([pair[index] for pair in self.confusions])
                file.create_dataset(name, data=stacked, compression="gzip", fletcher32=True)
            file["label_values"] = self.label_values

    def _write_pool(self, pool: LabelPool, next_round: int) -> None:
        values = np.where(pool.is_labelled, self.label_values[pool.label], 0)
        with replacing_hdf5(self.path / "pool.h5") as file:
            arrays = {"pixel_id": pool.candidates, "labelled_at": pool.labelled_at, "label": values}
            if self.predicted is not None:
                arrays["predicted"] = self.label_values[self.predicted]
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression="gzip", fletcher32=True)
            file.attrs["next_round"] = next_round


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the errors of reading a missing or damaged file into a `RunDirectoryError` of one sentence."""
    try:
        yield
    except (*DAMAGE, csv.Error, PoolError) as error:
        raise RunDirectoryError(
            f"{path} is missing or corrupted ({' '.join(str(error).split())}); restore it, or delete the run directory "
            "to start anew."
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the run directory against other processes; the lock of a killed process doesn't block.

    Raises:
        RunDirectoryError: Another process holds the lock.
    """
    lock = filelock.FileLock(path / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise RunDirectoryError(
            f"Another process is using {path}; wait for it, or give this run its own hydra.run.dir."
        ) from error
    try:
        yield
    finally:
        lock.release()


def read_meta(path: Path) -> dict[str, Any]:
    """Read the meta.json of a run directory; {} if there is none yet.

    Raises:
        RunDirectoryError: The file is corrupted.
    """
    file = path / "meta.json"
    if not file.exists():
        return {}
    with reading(file):
        return dict(json.loads(file.read_text(encoding="utf-8")).items())


def discard_uncommitted(path: Path) -> None:
    """Remove the files of a run without a committed round, and its folder if that is then empty and below ./outputs."""
    with suppress(OSError):  # the error that led here matters more than a failed clean-up
        if not (path / "pool.h5").exists():
            for file in [*(path / name for name in ("config.yaml", "lock", *ROUND_FILES)), *path.glob("weights_*.pt")]:
                file.unlink(missing_ok=True)
    remove_if_empty(path)


def remove_if_empty(path: Path) -> None:
    """Remove an empty folder and its parents that become empty, up to ./outputs; folders elsewhere are the user's."""
    top = Path.cwd() / "outputs"
    with suppress(OSError):
        for folder in (path, *path.parents):
            if top not in (folder, *folder.parents):
                return
            folder.rmdir()


def refuse_foreign_files(path: Path) -> None:
    """Raise RunDirectoryError if the folder holds files of a run but no config.yaml."""
    if not (path / "config.yaml").exists() and (found := [name for name in ROUND_FILES if (path / name).exists()]):
        raise RunDirectoryError(
            f"{path} holds {', '.join(found)} but no config.yaml, so it can't be continued; restore it, delete the "
            "folder, or choose another hydra.run.dir."
        )

"""The files of a run, in formats readable without this package; committed rounds survive a kill at any moment."""

import csv
import io
import math
import re
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hsi_al import files
from hsi_al.active.curve import RoundRecord
from hsi_al.active.records import Records
from hsi_al.errors import PoolError, RunDirectoryError
from hsi_al.files import replace_text, storable
from hsi_al.manifest import ANEW, Manifest, digest, read_manifest, reading, replace_files, sealed
from hsi_al.methods.base import Learner
from hsi_al.pool.label_pool import LabelPool

Ids = NDArray[np.int64]
Labels = NDArray[np.integer[Any]]
ROUND_FILES = ("meta.json", "curve.csv", "confusion.h5", "pool.h5")
LISTED = ("config.yaml", "confusion.h5", "curve.csv", "pool.h5", "predictions.h5")  # in manifest.json, beside weights
# What a finished run holds of its last round: the maps.
MAPS = (
    *("predictions.h5", "map.tif", "map.tif.aux.xml", "map.qml", "uncertainty.tif", "labels.gpkg", "report.html"),
    *("figures/map.png", "figures/query_map.png"),
)
PACKED: dict[str, Any] = {"compression": "gzip", "fletcher32": True}


class RunDirectory(Records):
    """One run's folder, and its committed rounds.

    Committing a round replaces these files atomically, in this order: weights (with warm start, or in the last round),
    manifest.json with the checksums of the new and the present files, confusion.h5, curve.csv, and pool.h5, which is
    the commit point: it holds the number of the next round, at which a run continues.

    Args:
        path: The folder; created if missing.
        label_values: Original value of every class index, (C,).
        suffix: Extension of the files of the learner's state.
    """

    def __init__(self, path: Path, label_values: Ids, suffix: str = ".pt") -> None:
        path.mkdir(parents=True, exist_ok=True)
        super().__init__(label_values)
        self.path, self.suffix = path, suffix

    def restore(self, pool: LabelPool) -> int:
        """Read the committed labels into an empty pool and the committed rounds into memory.

        Returns:
            The round to run next, 0 for a new run.

        Raises:
            RunDirectoryError: A file is corrupted, or belongs to another scene or split.
        """
        path = self.path / "pool.h5"
        with reading(path):
            if not exists(path):
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

    def remove_leftovers(self, next_round: int) -> None:
        """Remove the weights of other rounds than the last committed one, which a killed process left."""
        for old in set(state_files(self.path)) - {self.weights(next_round - 1)}:
            old.unlink()

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
        super().commit(record, pool, learner, last)
        self.write_round(record.round, (record.round, record.n_labelled), pool, learner, last)

    def write_round(
        self, round_: int, committed: tuple[int, int], pool: LabelPool, learner: Learner, last: bool
    ) -> None:
        """Write the rounds in memory, see `commit`.

        Args:
            round_: The latest of them.
            committed: Next round and number of labels that pool.h5 holds so far, which is intact as well.
            pool: Candidates and labels.
            learner: Its state is saved for a warm start, and in the last round.
            last: Whether this is the last round of the run.
        """
        weights = self.weights(round_)
        if learner.warm or last:
            learner.save(weights)
        files = self._listed() | listing(weights)
        contents: dict[str, bytes | memoryview] = {
            "confusion.h5": self._confusions(),
            "curve.csv": self._curve(),
            "pool.h5": self._pool(pool, round_ + 1),
        }
        counts = [[round_ + 1, pool.n_labelled], [*committed]]
        replace_files(self.path, contents, files, counts=counts)
        self.remove_leftovers(round_ + 1)

    def weights(self, round_: int) -> Path:
        """Return the path of the learner's state after a round."""
        return self.path / f"weights_{round_}{self.suffix}"

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Replace meta.json by the given content, which gets a checksum of its own as it is written most often."""
        replace_text(self.path / "meta.json", sealed(meta))

    def write_config(self, text: str, data: dict[str, str], goes_on: bool = False) -> None:
        """Replace config.yaml, and list all files of the run and the checksums of its data in manifest.json.

        Args:
            text: Content of config.yaml.
            data: Checksums of the scene.
            goes_on: Whether rounds are still to come, so that maps, which a shorter run left, are removed.
        """
        changed: dict[str, Any] = {} if exists(self.path / "pool.h5") else {"counts": []}
        listed = self._listed()
        if goes_on:
            listed.pop("predictions.h5", None)
        replace_files(self.path, {"config.yaml": text.encode()}, listed, data=data, **changed)
        for name in MAPS if goes_on else ():
            (self.path / name).unlink(missing_ok=True)

    def _listed(self) -> dict[str, list[str | None]]:
        """Return the entries of the manifest for the files that exist; an earlier version may have listed none."""
        listed = (read_manifest(self.path) or Manifest()).files
        files = [*(self.path / name for name in LISTED), *state_files(self.path)]
        entries = [
            {file.name: listed[file.name]} if file.name in listed else listing(file) for file in files if exists(file)
        ]
        return {name: entry for found in entries for name, entry in found.items()}

    def write_predictions(
        self,
        class_map: Labels,
        ground_truth: Labels,
        rgb: NDArray[np.uint8],
        filtered: Labels | None = None,
        *,
        names: Mapping[int, str],
    ) -> None:
        """Write predictions.h5.

        Args:
            class_map: Original label values, (H, W), 0 = background.
            ground_truth: Alike.
            rgb: False colour, (H, W, 3).
            filtered: The filtered class map, if there is one.
            names: Label value -> name.
        """
        kind = np.min_scalar_type(int(max(class_map.max(), ground_truth.max())))
        maps = {"class_map": class_map, "ground_truth": ground_truth}
        maps |= {} if filtered is None else {"filtered_map": filtered}
        arrays = {name: values.astype(kind, copy=False) for name, values in maps.items()}
        known = {
            "label_values": np.array([*names]),
            "class_names": np.array(storable(names.values()), h5py.string_dtype()),
        }
        replace_files(self.path, {"predictions.h5": packed({**arrays, "rgb": rgb, **known}, {"compression": "gzip"})})

    def _read_rounds(self, next_round: int) -> None:
        """Read the rounds before `next_round` from curve.csv and confusion.h5; later ones were not committed."""
        path = self.path / "curve.csv"
        with reading(path), path.open(newline="", encoding="utf-8") as file:
            rows = [curve_row(cells) for cells in csv.DictReader(file, strict=True)]
            self.rows = [row for row in rows if row["round"] < next_round]
        path = self.path / "confusion.h5"
        with reading(path), h5py.File(path) as file:
            pairs = zip(file["all"][:next_round], file["heldout"][:next_round], strict=True)
            self.confusions = list(pairs)
            if file["label_values"][:].tolist() != self.label_values.tolist():
                raise ValueError(f"it has other label values than {self.label_values.tolist()}")
        if not len(self.rows) == len(self.confusions) == next_round:
            raise RunDirectoryError(
                f"{self.path / 'curve.csv'} has {len(self.rows)} rounds and confusion.h5 {len(self.confusions)}, but "
                f"pool.h5 says {next_round}; {ANEW}."
            )

    def _curve(self) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow(row | {name: int(row[name]) for name in ("round", "n_labelled")})
        return text.getvalue().encode()

    def _confusions(self) -> memoryview:
        stacked = {
            name: np.stack(arrays)
            for name, arrays in zip(("all", "heldout"), zip(*self.confusions, strict=True), strict=True)
        }
        return packed({**stacked, "label_values": self.label_values}, PACKED)

    def _pool(self, pool: LabelPool, next_round: int) -> memoryview:
        values = np.where(pool.is_labelled, self.label_values[pool.label], 0)
        arrays = {"pixel_id": pool.candidates, "labelled_at": pool.labelled_at, "label": values}
        if self.predicted is not None:
            arrays["predicted"] = self.label_values[self.predicted]
        return packed(arrays, PACKED, next_round=next_round)


def packed(arrays: Mapping[str, NDArray[Any]], options: dict[str, Any], **attributes: int) -> memoryview:
    """Return the bytes of an HDF5 file: h5py writing to a full disk itself would crash the process."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)
        file.attrs.update(attributes)
    return content.getbuffer()


def curve_row(cells: dict[str, str]) -> dict[str, float]:
    """Return a row of curve.csv as numbers.

    Raises:
        ValueError: A cell is missing or holds no number, or round, labels or seconds are not finite and positive.
        TypeError: There are more or fewer cells than columns.
    """
    row = {name: float(value) for name, value in cells.items()}
    counts = [row[name] for name in row if name in ("round", "n_labelled") or name.startswith("seconds_")]
    if any(map(math.isinf, row.values())) or not all(number >= 0 for number in counts):
        raise ValueError("a row holds numbers that can't be")
    return row


def state_files(folder: Path) -> list[Path]:
    """Return the files in a run directory that learners' states were saved to."""
    return [file for file in folder.glob("weights_*") if re.fullmatch(r"weights_\d+\.\w+", file.name)]


def listing(path: Path) -> dict[str, list[str | None]]:
    """Return the entry of a file in the manifest, by its name; {} without the file."""
    found = digest(path)
    return {} if found is None else {path.name: [found]}


def exists(path: Path) -> bool:
    """Return whether there is a file.

    Raises:
        OSError: The system can't tell; `Path.exists` would say no in some versions of Python.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def locked(path: Path) -> AbstractContextManager[None]:
    """Lock the run directory against other processes; the lock of a killed process doesn't block.

    Raises:
        RunDirectoryError: Another process holds the lock, or the file system knows no locks.
        OSError: The folder can't be written.
    """
    in_use = f"Another process is using {path}; wait for it, or give this run its own hydra.run.dir."
    return files.locked(path, RunDirectoryError, in_use, "choose a hydra.run.dir on another file system")


def discard_uncommitted(path: Path) -> None:
    """Remove the files of a run without a committed round, and its folder if that is then empty and below ./outputs."""
    with suppress(OSError):  # the error that led here matters more than a failed clean-up
        if not (path / "pool.h5").exists():
            if (path / "config.yaml").exists():  # written before the logger starts
                shutil.rmtree(path / "tensorboard", ignore_errors=True)
            names = ("config.yaml", "lock", "manifest.json", *ROUND_FILES)
            for file in [*(path / name for name in names), *state_files(path)]:
                file.unlink(missing_ok=True)
    remove_if_empty(path)


def remove_if_empty(path: Path) -> None:
    """Remove an empty folder and its parents that become empty, up to ./outputs; folders elsewhere are the user's."""
    top = Path.cwd() / "outputs"
    with suppress(OSError):
        for folder in (path, *path.parents):
            if top not in (folder, *folder.parents):
                return
            with suppress(FileNotFoundError):
                folder.rmdir()


def remove_stale(path: Path) -> None:
    """Remove the temporary files that a killed process left in a run directory."""
    for stale in (*path.glob(".*.tmp"), *(path / "figures").glob(".*.tmp")):
        stale.unlink(missing_ok=True)


def refuse_foreign_files(path: Path) -> None:
    """Raise RunDirectoryError if the folder holds files of a run but no config.yaml."""
    if not exists(path / "config.yaml") and (found := [name for name in ROUND_FILES if exists(path / name)]):
        raise RunDirectoryError(
            f"{path} holds {', '.join(found)} but no config.yaml, so it can't be continued; restore it, delete the "
            "folder, or choose another hydra.run.dir."
        )

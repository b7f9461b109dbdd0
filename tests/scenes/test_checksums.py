from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from hsi_al.scenes.checksums import checksum, data_checksums
from hsi_al.scenes.custom import Reading, load_custom_scene
from hsi_al.scenes.stored import StoredCube
from tests.conftest import tiny_arrays


def test_only_shape_type_and_values_count(monkeypatch: pytest.MonkeyPatch) -> None:
    cube, _ = tiny_arrays()
    known = checksum(cube)
    monkeypatch.setattr("hsi_al.scenes.checksums.BLOCK_BYTES", 1000)  # several blocks
    assert checksum(cube) == checksum(np.asfortranarray(cube)) == checksum(cube.astype(">u2")) == known
    changed = cube.copy()
    changed[-1, -1, -1] ^= 1
    others = [changed, cube.astype(np.int32), cube.reshape(26, 24, 6), cube[::-1]]
    assert len({known, *map(checksum, others)}) == 5


def test_the_same_from_every_file_in_memory_or_not(tmp_path: Path) -> None:
    cube, truth = tiny_arrays()
    scipy.io.savemat(tmp_path / "a.mat", {"cube": cube, "truth": truth.astype(float)})
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("data", data=cube, compression="gzip", chunks=(5, 7, 2))
        file["labels"] = truth
    np.save(tmp_path / "c.npy", cube)
    np.save(tmp_path / "truth.npy", truth)
    truth_file = tmp_path / "truth.npy"
    found = [
        data_checksums(load_custom_scene("a", tmp_path / "a.mat", "cube", None, "truth")),
        data_checksums(load_custom_scene("b", tmp_path / "b.h5", "data", None, "labels")),
        data_checksums(load_custom_scene("c", tmp_path / "b.h5", "data", truth_file, reading=Reading(in_memory=False))),
        data_checksums(load_custom_scene("d", tmp_path / "c.npy", None, truth_file, reading=Reading(in_memory=False))),
    ]
    assert found == [found[0]] * 4
    fewer = data_checksums(load_custom_scene("a", tmp_path / "a.mat", "cube", None, "truth", classes=[2, 5]))
    assert fewer["cube"] == found[0]["cube"] and fewer["ground_truth"] != found[0]["ground_truth"]


def test_limits_and_checksum_take_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube, truth = tiny_arrays()
    np.save(tmp_path / "cube.npy", cube)
    np.save(tmp_path / "truth.npy", truth)
    scene = load_custom_scene(
        "a", tmp_path / "cube.npy", None, tmp_path / "truth.npy", reading=Reading(in_memory=False)
    )
    assert isinstance(scene.source, StoredCube)
    monkeypatch.setattr("hsi_al.scenes.stored.BLOCK_BYTES", 3000)
    reads: list[int] = []
    read = StoredCube.read

    def counted(cube: StoredCube, first: int, last: int) -> NDArray[Any]:
        reads.append(first)
        return read(cube, first, last)

    monkeypatch.setattr(StoredCube, "read", counted)
    data_checksums(scene)
    n = len(reads)
    assert n > 3
    assert scene.source.limits == (cube.min(), cube.max())
    assert len(reads) == n

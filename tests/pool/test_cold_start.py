import numpy as np
import pytest
from numpy.typing import NDArray

from hsi_al.config.schema import Config
from hsi_al.errors import PoolExhaustedError
from hsi_al.options import options_of
from hsi_al.pool.cold_start import COLD_STARTS, central, draw_cold, typical
from hsi_al.pool.initial import DRAWS
from hsi_al.randomness import generator

Ids = NDArray[np.int64]
KINDS = tuple(COLD_STARTS)


def blobs(n_blobs: int = 6, each: int = 30, bands: int = 10) -> tuple[Ids, NDArray[np.float64], Ids]:
    """Ids with gaps, spectra in blobs far from each other, and the blob of each; 10 components keep all distances."""
    rng = np.random.default_rng(3)
    blob = rng.permutation(np.repeat(np.arange(n_blobs), each))
    spectra = 100.0 * np.eye(bands)[blob] + rng.normal(size=(len(blob), bands))
    return np.arange(len(blob)) * 3 + 5, spectra, blob


def test_the_configuration_knows_them() -> None:
    assert set({key: allowed.choices for key, _, allowed in options_of(Config())}["protocol.initial"]) == {
        *DRAWS,
        *KINDS,
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_blob_gives_its_pixel(kind: str, seed: int) -> None:
    ids, spectra, blob = blobs()
    drawn = draw_cold(ids, spectra, 6, kind, generator(seed, "initial"))
    assert drawn.dtype == np.int64 and drawn.tolist() == sorted(set(drawn.tolist()))
    positions = np.searchsorted(ids, drawn)
    assert sorted(blob[positions].tolist()) == list(range(6))
    for position in positions.tolist():
        members = np.flatnonzero(blob == blob[position])
        centred = spectra[members] - spectra[members].mean(axis=0)
        if kind == "kmeans":
            best = members[(centred**2).sum(axis=1).argmin()]
        else:
            distances = np.sort(np.linalg.norm(centred[:, None] - centred[None], axis=2), axis=1)
            best = members[distances[:, 1:16].mean(axis=1).argmin()]  # half of 30
        assert position == best


@pytest.mark.parametrize("kind", KINDS)
def test_size_seed_and_the_whole_pool(kind: str) -> None:
    ids, spectra, _ = blobs(2, 10)
    for size in (1, 3, 20):
        draws = [draw_cold(ids, spectra, size, kind, generator(seed, "initial")).tolist() for seed in (0, 0, 1)]
        assert draws[0] == draws[1]
        assert len(set(draws[0])) == size and set(draws[0]) <= set(ids.tolist())
    assert draws[2] == ids.tolist()
    with pytest.raises(PoolExhaustedError, match=r"21 .* 20 candidates"):
        draw_cold(ids, spectra, 21, kind, generator(0, "initial"))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_spectra_are_filled_at_random(kind: str) -> None:
    ids = np.arange(9) + 4
    drawn = draw_cold(ids, np.ones((9, 3), np.uint16), 5, kind, generator(0, "initial"))
    assert len(set(drawn.tolist())) == 5
    one_band = draw_cold(ids, np.arange(9)[:, None], 3, kind, generator(0, "initial"))
    assert len(set(one_band.tolist())) == 3


def test_central_and_typical_by_hand() -> None:
    line = np.array([[0.0], [5.0], [6.0], [7.0], [100.0]])
    assert central(line) == 3  # the mean is 23.6
    assert typical(line) == 2  # two neighbours at 1 and 1
    assert typical(line[:1]) == central(line[:1]) == 0
    assert typical(line[:2]) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [100, 2**16])
def test_features_are_clustered_as_they_are(kind: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.pool.cold_start.MOST_CLUSTERED", most)
    ids, vectors, blob = blobs(bands=30)
    vectors[:, 6:] += 100.0 * (blob[:, None] == np.arange(24) % 6)  # in more directions than components are kept
    drawn = draw_cold(ids, vectors, 6, kind, generator(0, "initial"), features=True)
    assert drawn.tolist() == sorted(set(drawn.tolist())) and set(drawn.tolist()) <= set(ids.tolist())
    assert sorted(blob[np.searchsorted(ids, drawn)].tolist()) == list(range(6))
    if most > len(ids) and kind == "kmeans":
        for position in np.searchsorted(ids, drawn).tolist():
            members = np.flatnonzero(blob == blob[position])
            away = ((vectors[members] - vectors[members].mean(axis=0)) ** 2).sum(axis=1)
            assert position == members[away.argmin()]


def test_more_pixels_than_are_clustered_and_equal_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.pool.cold_start.MOST_CLUSTERED", 5)
    ids = np.arange(40) * 2
    drawn = draw_cold(ids, np.zeros((40, 3)), 12, "kmeans", generator(0, "initial"), features=True)
    assert len(set(drawn.tolist())) == 12 and set(drawn.tolist()) <= set(ids.tolist())

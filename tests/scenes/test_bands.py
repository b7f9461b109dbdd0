"""The bands of a file that are used, and those of another file that are the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_al.errors import SceneError
from hsi_al.scenes.arrays import Rows
from hsi_al.scenes.bands import chosen_bands, matching_bands, of_bands, unlike_bands
from hsi_al.scenes.custom import Reading, scene_of_arrays

CUBE = np.arange(3 * 4 * 6).reshape(3, 4, 6)
NM = (400.0, 500.0, 600.0, 1400.0, 1500.0, 2500.0)


def rows(**changed: Any) -> Rows:
    opened = Rows(Path("field.hdr"), CUBE.shape, CUBE.dtype, lambda lines, columns: CUBE[lines, columns])
    return replace(opened, **{"wavelengths": NM, **changed})


def test_bad_bands_are_left_out_unless_named() -> None:
    assert chosen_bands(rows(bad_bands=(0, 3)), None) == [1, 2, 4, 5]
    assert chosen_bands(rows(bad_bands=(0, 3)), [3, 0]) == [3, 0]
    assert chosen_bands(rows(bad_bands=(0, 3)), [[400, 600], [1300, 1500]]) == [1, 2, 4]
    assert chosen_bands(rows(), [[500, 500]]) == [1]
    assert chosen_bands(rows(wavelengths=None), None) == list(range(6))


@pytest.mark.parametrize(
    ("changed", "wanted", "said"),
    [
        ({}, [6], "names the band 6, but field.hdr has 6 bands; give numbers from 0 to 5"),
        ({}, [-1], "names the band -1"),
        ({}, [1, 2, 1], "names the band 1 twice"),
        ({}, [], "names no band"),
        ({}, [1, [400, 500]], "mixes band numbers and ranges"),
        ({}, [[700, 900]], "no band of field.hdr lies from 700 to 900 nm; its bands reach from 400 to 2500 nm"),
        ({}, [[500, 400]], "is no range"),
        ({"wavelengths": None}, [[400, 500]], "field.hdr has none; give band numbers from 0 to 5"),
        ({"bad_bands": (0, 1)}, [[400, 500]], "marks all bands in these ranges as bad"),
        ({"bad_bands": tuple(range(6))}, None, "marks all its 6 bands as bad"),
    ],
)
def test_what_is_no_choice_is_said(changed: dict[str, Any], wanted: Any, said: str) -> None:
    with pytest.raises(SceneError) as error:
        chosen_bands(rows(**changed), wanted)
    assert said in str(error.value)


@pytest.mark.parametrize("bands", [[1, 2, 3], [5, 0], [2], list(range(6))])
def test_windows_of_some_bands(bands: list[int]) -> None:
    part = of_bands(rows(rgb_bands=(5, 0, 5), bad_bands=(1,)), bands)
    assert part.shape == (3, 4, len(bands)) and part.bad_bands == ()
    assert np.array_equal(part.read(1, 3, 1, 4), CUBE[1:3, 1:4][:, :, bands])
    assert part.wavelengths == tuple(NM[band] for band in bands)
    place = {band: number for number, band in enumerate(bands)}
    assert part.rgb_bands == ((place[5], place[0], place[5]) if {0, 5} <= set(bands) else None)


def test_bands_of_another_cube_are_matched_by_wavelength() -> None:
    turned = rows(wavelengths=NM[::-1])
    assert matching_bands(turned, 2, (500.4, 2499.0), (1, 5, 6)) == [4, 0]
    assert matching_bands(rows(), 6, NM, None) == list(range(6))
    with pytest.raises(SceneError, match=r"no band near 1000 nm.*nearest is at 600 nm, and 250 nm are allowed"):
        matching_bands(rows(), 2, (500.0, 1000.0), None)
    with pytest.raises(SceneError, match="has 6 bands from 400 to 2500 nm, fewer in places than the 3"):
        matching_bands(rows(), 3, (500.0, 500.4, 500.8), None)


def test_bands_of_one_wavelength_are_told_apart_by_their_order() -> None:
    overlap = (400.0, 500.0, 600.0, 500.0, 600.0, 700.0)  # two detectors
    assert matching_bands(rows(wavelengths=overlap), 6, overlap, None) == list(range(6))
    assert matching_bands(rows(wavelengths=overlap), 3, (600.0, 500.0, 600.0), None) == [2, 1, 4]
    shifted = tuple(centre + 3 for centre in overlap)
    assert matching_bands(rows(wavelengths=shifted), 6, overlap, None) == list(range(6))


def test_bad_bands_of_another_cube_are_not_taken() -> None:
    cube = rows(wavelengths=NM, bad_bands=(2, 4))
    assert matching_bands(cube, 2, (NM[0], NM[3]), None) == [0, 3]
    with pytest.raises(SceneError, match=r"marks the band 2 \(600 nm\) and 1 more as bad.*--force"):
        matching_bands(cube, 6, NM, None)
    assert matching_bands(cube, 6, NM, None, bad_too=True) == list(range(6))
    with pytest.raises(SceneError, match="marks the band 4 as bad"):
        matching_bands(rows(bad_bands=(4,), wavelengths=None), 1, None, (4, 6))
    doubled = rows(wavelengths=(400.0, 500.0, 500.0, 600.0, 700.0, 800.0), bad_bands=(1,))
    assert matching_bands(doubled, 1, (500.0,), None) == [2]


def test_bands_in_another_order_are_matched_in_that_order() -> None:
    """A run on all bands of its file, but in another order, isn't one on the file as it is."""
    cube = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    scene = scene_of_arrays("s", cube, reading=Reading(bands=[4, 0, 2, 1, 3]))
    assert scene.bands == (4, 0, 2, 1, 3, 5) and np.array_equal(scene.cube, cube[:, :, [4, 0, 2, 1, 3]])
    held = rows(shape=(3, 4, 5), wavelengths=None)
    assert matching_bands(held, 5, None, scene.bands) == [4, 0, 2, 1, 3]
    assert scene_of_arrays("s", cube, reading=Reading(bands=[0, 1, 2, 3, 4])).bands is None


@pytest.mark.parametrize("n", [4, 6])
@pytest.mark.parametrize("bands", [None, [4, 1], [[400, 500]]])
def test_wavelengths_that_are_too_few_or_too_many_are_refused(n: int, bands: Any) -> None:
    cube = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    with pytest.raises(SceneError, match=rf"wavelengths of shape \({n},\) do not give one .* the 5 bands"):
        scene_of_arrays("s", cube, wavelengths=np.linspace(400, 800, n), reading=Reading(bands=bands))


def test_bands_without_wavelengths_are_matched_by_number() -> None:
    for changed, known in (({"wavelengths": None}, NM), ({}, None)):
        assert matching_bands(rows(**changed), 6, known, None) == list(range(6))
        assert matching_bands(rows(**changed), 2, known, (3, 1, 6)) == [3, 1]
        with pytest.raises(SceneError, match=r"has shape \(3, 4, 6\), but the run was trained on 2 bands"):
            matching_bands(rows(**changed), 2, known, (3, 1, 7))


def test_bands_that_may_be_others_are_told() -> None:
    run = [400.0, 410.0, 420.0, 430.0]  # 5 nm are allowed
    assert unlike_bands(rows(wavelengths=(430.0, 420.0, 410.0, 400.0)), [3, 2, 1, 0], run) is None
    assert unlike_bands(rows(wavelengths=(402.5, 410.0, 420.0, 430.0)), [0, 1, 2, 3], run) is None
    told = unlike_bands(rows(wavelengths=(400.0, 410.0, 424.5, 430.0)), [0, 1, 2, 3], run)
    assert told is not None and "up to 4.5 nm" in told and "for 420 nm" in told
    told = unlike_bands(rows(wavelengths=None), [0, 1, 2, 3], run)
    assert told is not None and "names no wavelengths" in told
    assert unlike_bands(rows(wavelengths=None), [0, 1, 2, 3], None) is None
    assert unlike_bands(rows(wavelengths=(400.0, 410.0, 424.5, 430.0)), [0, 1, 2, 3], None) is None
    assert unlike_bands(rows(wavelengths=(400.0, 400.9, 500.0, 600.0)), [0], [401.0]) is None  # 1 nm, of a single band

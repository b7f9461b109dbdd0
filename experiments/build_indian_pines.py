"""Build the embedded scene `hsi_al/scenes/indian_pines.h5` from the arrays in the PyPI package tensorly.

Run from the repository root: python -m experiments.build_indian_pines

The scene has all 16 classes and the 200 corrected bands. Their wavelengths are not published with the arrays and stay
unset.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hsi_al.scenes.catalogue import CATALOGUE, EMBEDDED_FILE
from hsi_al.scenes.readers import read_array
from hsi_al.scenes.scene import Scene, save_scene

CLASS_COUNTS = [46, 1428, 830, 237, 483, 730, 28, 478, 20, 972, 2455, 593, 205, 1265, 386, 93]


def tensorly_data() -> Path:
    """Return the folder of tensorly's arrays, without importing tensorly.

    Raises:
        ModuleNotFoundError: tensorly is not installed.
    """
    package = find_spec("tensorly")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("tensorly is not installed; run: pip install 'hsi_al[dev]'")
    return Path(package.origin).parent / "datasets" / "data"


def indian_pines() -> Scene:
    """Return the complete scene (145, 145, 200) in uint16, checked against the published class counts.

    Raises:
        ValueError: The arrays are not those of the published scene.
    """
    entry = CATALOGUE["indian_pines_16"]
    cube = read_array(tensorly_data() / "Indian_pines_corrected.npy")
    scene = Scene(
        name="indian_pines_16",
        source=cube.astype(np.uint16, casting="safe"),
        ground_truth=read_array(tensorly_data() / "Indian_pines_gt.npy").astype(np.int64),
        class_names=dict(entry.class_names),
        rgb_bands=entry.rgb_bands,
        licence=entry.licence,
        citation=entry.citation,
    )
    counts = np.bincount(scene.ground_truth.ravel())[1:].tolist()
    if scene.cube.shape != entry.shape or counts != CLASS_COUNTS:
        raise ValueError(f"shape {scene.cube.shape} and class counts {counts} are not those of Indian Pines")
    return scene


if __name__ == "__main__":
    save_scene(indian_pines(), EMBEDDED_FILE)
    print(f"{EMBEDDED_FILE.name}: {EMBEDDED_FILE.stat().st_size} bytes")

"""Features of known classes."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


def blobs(n: int, spread: float = 0.3, seed: int = 0) -> tuple[Floats, Ids]:
    """Three Gaussian classes in the plane."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    return (centres[labels] + spread * rng.normal(size=(n, 2))).astype(np.float32), labels


def rng() -> np.random.Generator:
    return np.random.default_rng(0)

"""Features of deep few-shot learning (DFSL, Liu et al., IEEE TGRS 2019), meta-trained on other scenes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsi_al.errors import ConfigurationError, LearnerError
from hsi_al.methods.deep.backbones.base import count_parameters
from hsi_al.methods.dfsl_svm import PATCH_SIZE
from hsi_al.methods.dfsl_svm.network import DfslEmbedding, EpisodeTraining
from hsi_al.outputs import Progress
from hsi_al.scenes.scene import Scene
from hsi_al.scenes.stored import value_range
from hsi_al.training.trainer import build_trainer, seeded, train

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

PAPER_SOURCES = "Houston, Botswana, KSC and Chikusei"
PAPER_EPISODES = 10_000


@dataclass(frozen=True)
class DfslSettings:
    """Settings of the meta-training; the defaults are the source's.

    Attributes:
        episodes: Training steps, one episode each.
        way: Classes of an episode; all classes if there are fewer.
        shots: Support pixels per class of an episode.
        queries: Query pixels per class of an episode.
        bands: Length of the spectra that the embedding sees.
        patch_size: Side P of the patches.
        lr: Learning rate of Adam.
        pixels_per_class: Pixels drawn from each source class; classes with fewer labelled pixels are left out.
        batch_size: Pixels embedded at once.

    Raises:
        ConfigurationError: An episode needs more pixels of a class than `pixels_per_class`.
    """

    episodes: int = PAPER_EPISODES
    way: int = 20
    shots: int = 1
    queries: int = 19
    bands: int = 100
    patch_size: int = PATCH_SIZE
    lr: float = 1e-3
    pixels_per_class: int = 200
    batch_size: int = 256

    def __post_init__(self) -> None:
        if self.shots + self.queries > self.pixels_per_class:
            raise ConfigurationError(
                f"An episode takes {self.shots} + {self.queries} pixels of a class, but pixels_per_class="
                f"{self.pixels_per_class} are drawn; take fewer queries."
            )


# On one CPU core an episode takes about 3.4 s ("paper") or 0.8 s ("short"): nine hours or five minutes in total.
EFFORTS: dict[str, DfslSettings] = {
    "paper": DfslSettings(),
    "short": DfslSettings(episodes=400, queries=4),
}


class DfslExtractor:
    """Embeds pixels by a 3-D network that is meta-trained on the classes of other scenes, never on this scene.

    The meta-training happens at the first `fit` and doesn't depend on the labelled pixels; later fits keep its result.
    Deviations from the paper: the source scenes are the available ones, not the paper's; the first bands of each cube
    are used, as in the co-author's code (the first author selected bands); shorter spectra are interpolated linearly.

    Args:
        cube: Cube of the scene to classify, (H, W, bands).
        sources: Labelled scenes to meta-train on.
        settings: Settings of the meta-training.
        accelerator: Name of an accelerator of Lightning.

    Raises:
        LearnerError: There are no source scenes, too few classes in them, or the scene to classify is among them.
        ConfigurationError: Patches or spectra are too small, or there is no such accelerator.
    """

    once = True

    def __init__(
        self, cube: NDArray[np.generic], sources: Sequence[Scene], settings: DfslSettings, accelerator: str = "auto"
    ) -> None:
        self.progress: Progress | None = None
        self.settings, self.accelerator = settings, accelerator
        self.sources = list(sources)
        self.classes = [ids for scene in self.sources for ids in classes_of(scene, settings.pixels_per_class)]
        self._check(cube)
        self.n_bands = cube.shape[2]
        self.windows = Windows(cube, settings.bands, settings.patch_size)
        self.embedding = DfslEmbedding(settings.bands, settings.patch_size)
        self.device = build_trainer(accelerator, "32-true", 1).strategy.root_device
        self.trained = False

    def describe(self) -> str:
        """Return size, source scenes, episodes, and the deviations from the paper."""
        settings = self.settings
        names = ", ".join(scene.name for scene in self.sources)
        parts = [
            f"DFSL, {count_parameters(self.embedding):,} parameters",
            f"meta-trained on {len(self.classes)} classes of {names} (the paper: {PAPER_SOURCES})",
            f"{settings.episodes:,} episodes of {self.way} classes with {settings.queries} queries"
            + ("" if settings.episodes == PAPER_EPISODES else f" (the paper: {PAPER_EPISODES:,} of 20 with 19)"),
        ]
        if self.n_bands < settings.bands:
            parts.append(f"{self.n_bands} bands interpolated to {settings.bands} (the paper's scenes have more)")
        return ", ".join(parts)

    @property
    def way(self) -> int:
        """Number of classes of an episode."""
        return min(self.settings.way, len(self.classes))

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Meta-train at the first call; the labelled pixel ids (n,) and labels (n,) are not used.

        Raises:
            LearnerError: The training diverged.
        """
        seed = int(rng.integers(2**63))  # drawn in every call, so that later draws don't depend on `trained`
        if self.trained:
            return
        with seeded(seed, self.device):
            self.embedding.cpu().reset_parameters()
            train(
                EpisodeTraining(self.embedding, self.settings.lr),
                Episodes(self._drawn(np.random.default_rng(seed)), self.way, self.settings, seed),
                1,
                self.accelerator,
                lambda _, part: self._report(part),
            )
        self.embedding.to(self.device)
        self.trained = True

    def features(self, pixel_ids: Ids) -> Floats:
        """Return the features of pixel ids (n,), (n, 160) for 100 bands and patches of 9."""
        found = np.empty((len(pixel_ids), self.embedding.feature_size), dtype=np.float32)
        size = self.settings.batch_size
        with torch.inference_mode():
            for start in range(0, len(pixel_ids), size):
                patches = torch.from_numpy(self.windows(pixel_ids[start : start + size])).to(self.device)
                found[start : start + size] = self.embedding(patches).cpu().numpy()
        return found

    def _drawn(self, generator: np.random.Generator) -> Floats:
        """Draw pixels from every source class and return their patches, (classes, pixels_per_class, bands, P, P)."""
        settings, parts = self.settings, []
        for scene in self.sources:
            windows = Windows(scene.cube, settings.bands, settings.patch_size)
            for ids in classes_of(scene, settings.pixels_per_class):
                parts.append(windows(generator.choice(ids, settings.pixels_per_class, replace=False)))
        return np.stack(parts)

    def _report(self, part: float) -> None:
        if self.progress is not None:
            self.progress("meta-training", part)

    def _check(self, cube: NDArray[np.generic]) -> None:
        if not self.sources:
            raise LearnerError(
                "DFSL meta-trains on other labelled scenes, but has none; name some with learner.source_scenes=[...]."
            )
        for scene in self.sources:
            if scene.cube.shape == cube.shape and np.array_equal(scene.cube, cube):
                raise LearnerError(
                    f"The source scene {scene.name!r} is the one to classify, so DFSL would see its test labels; "
                    "leave it out of learner.source_scenes=[...]."
                )
        if len(self.classes) < 2:
            raise LearnerError(
                f"DFSL needs two classes with {self.settings.pixels_per_class} labelled pixels or more to meta-train "
                f"on, and {', '.join(scene.name for scene in self.sources)} has {len(self.classes)}; name more scenes "
                "with learner.source_scenes=[...]."
            )


class Windows:
    """Pixel ids (n,) -> patches (n, bands, P, P), scaled to [0, 1] by one minimum and maximum of the used bands.

    The border is mirrored without repeating the edge (numpy `reflect`), as in the authors' code. The cube is neither
    padded nor copied as a whole, so that a large source scene takes no further memory.

    Args:
        cube: (H, W, any number of bands).
        bands: Length of the spectra: the first bands of the cube, or all, interpolated linearly, if it has fewer.
        patch_size: Side P of the patches.
    """

    def __init__(self, cube: NDArray[np.generic], bands: int, patch_size: int) -> None:
        self.cube, self.bands = cube[:, :, :bands], bands
        self.offsets = np.arange(patch_size) - patch_size // 2
        self.low, high = value_range(self.cube)
        self.span = high - self.low or 1.0

    def __call__(self, pixel_ids: Ids) -> Floats:
        """Return the patches of pixel ids (n,), (n, bands, P, P)."""
        height, width, _ = self.cube.shape
        rows = reflected(pixel_ids[:, None] // width + self.offsets, height)
        columns = reflected(pixel_ids[:, None] % width + self.offsets, width)
        spectra = self.cube[rows[:, :, None], columns[:, None, :]].astype(np.float32)
        scaled = (spectra - np.float32(self.low)) / np.float32(self.span)
        return np.ascontiguousarray(resampled(scaled, self.bands).transpose(0, 3, 1, 2))


def reflected(positions: Ids, size: int) -> Ids:
    """Mirror positions outside 0..size-1 at the first and last position; the shape is kept."""
    period = max(1, 2 * (size - 1))
    inside: Ids = np.abs(positions) % period
    return np.minimum(inside, period - inside)


def resampled(spectra: Floats, bands: int) -> Floats:
    """Interpolate spectra (..., b) linearly to (..., bands); for b = bands they are returned unchanged."""
    have = spectra.shape[-1]
    if have == bands:
        return spectra
    where = np.linspace(0, have - 1, bands)
    below = where.astype(np.int64)
    above = np.minimum(below + 1, have - 1)
    weight = (where - below).astype(np.float32)
    mixed: Floats = spectra[..., below] * (1 - weight) + spectra[..., above] * weight
    return mixed


def classes_of(scene: Scene, at_least: int) -> list[Ids]:
    """Return the pixel ids of each class that has `at_least` labelled pixels."""
    values = scene.ground_truth.ravel()
    found = [np.flatnonzero(values == value) for value in scene.label_values]
    return [ids for ids in found if len(ids) >= at_least]


class Episodes:
    """Draws episodes: W classes, then S support and Q query pixels of each, all without repetition.

    Args:
        patches: Patches of the pixels of every class, (classes, pixels, bands, P, P).
        way: Number W of classes of an episode.
        settings: Number of episodes, support pixels S and query pixels Q.
        seed: Seed of the draws; every pass draws the same episodes.
    """

    def __init__(self, patches: Floats, way: int, settings: DfslSettings, seed: int) -> None:
        self.patches, self.way, self.settings, self.seed = torch.from_numpy(patches), way, settings, seed

    def __len__(self) -> int:
        return self.settings.episodes

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield support patches (W, S, bands, P, P) and query patches (W, Q, bands, P, P) of each episode."""
        generator = np.random.default_rng(self.seed)
        n_classes, n_pixels = self.patches.shape[:2]
        shots = self.settings.shots
        for _ in range(self.settings.episodes):
            classes = generator.permutation(n_classes)[: self.way, None]
            pixels = np.stack([generator.permutation(n_pixels) for _ in range(self.way)])
            drawn = self.patches[classes, pixels[:, : shots + self.settings.queries]]
            yield drawn[:, :shots], drawn[:, shots:]

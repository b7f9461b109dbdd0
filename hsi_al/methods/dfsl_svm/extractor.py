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
from hsi_al.training.patches import value_range
from hsi_al.training.trainer import build_trainer, seeded, train

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

PAPER_SOURCES = "Houston, Botswana, KSC and Chikusei"
PAPER_EPISODES = 10_000


@dataclass(frozen=True)
class DfslSettings:
    """How DFSL meta-trains; the defaults are the source's.

    Attributes:
        episodes: Steps, one episode each.
        way: Classes of an episode; all there are, if they are fewer.
        shots: Support pixels per class.
        queries: Query pixels per class.
        bands: Length of the spectra that the embedding sees.
        patch_size: Side P of the patches.
        lr: Adam's learning rate.
        pixels_per_class: Pixels drawn from each source class; classes with fewer labelled pixels are left out.
        batch_size: Pixels embedded at once.

    Raises:
        ConfigurationError: An episode needs more pixels of a class than are drawn.
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


# About 3.4 s and 0.8 s an episode on one CPU core: nine hours and five minutes.
EFFORTS: dict[str, DfslSettings] = {
    "paper": DfslSettings(),
    "short": DfslSettings(episodes=400, queries=4),
}


class DfslExtractor:
    """Embeds pixels by a 3-D network that was meta-trained on the classes of other scenes, never on this one.

    The meta-training happens at the first `fit` and doesn't depend on the labelled pixels; later fits keep it.
    Deviations: the source scenes are those at hand, not the paper's; of each cube the first bands are taken (the
    co-author's code; the first author selected them), and shorter spectra are interpolated linearly.

    Args:
        cube: Scene to classify, (H, W, bands).
        sources: Labelled scenes to meta-train on.
        settings: See `DfslSettings`.
        accelerator: As Lightning names it.

    Raises:
        LearnerError: No source scenes, too few classes in them, or the scene to classify is among them.
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
        """Size, source scenes, episodes, and what deviates from the paper."""
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
        """Classes of an episode."""
        return min(self.settings.way, len(self.classes))

    def fit(self, pixel_ids: Ids, labels: Ids, rng: np.random.Generator) -> None:
        """Meta-train, if that hasn't happened; the labelled pixels (n,) and labels (n,) aren't looked at.

        Raises:
            LearnerError: The training diverged.
        """
        seed = int(rng.integers(2**63))  # drawn always: what comes after it must not depend on whether this trains
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
        """Features of pixels, (n, 160) for 100 bands and patches of 9."""
        found = np.empty((len(pixel_ids), self.embedding.feature_size), dtype=np.float32)
        size = self.settings.batch_size
        with torch.inference_mode():
            for start in range(0, len(pixel_ids), size):
                patches = torch.from_numpy(self.windows(pixel_ids[start : start + size])).to(self.device)
                found[start : start + size] = self.embedding(patches).cpu().numpy()
        return found

    def _drawn(self, generator: np.random.Generator) -> Floats:
        """Patches of the pixels drawn from every source class, (classes, pixels_per_class, bands, P, P)."""
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
                "DFSL meta-trains on other labelled scenes and has none; name some by learner.source_scenes=[...]."
            )
        for scene in self.sources:
            if scene.cube.shape == cube.shape and np.array_equal(scene.cube, cube):
                raise LearnerError(
                    f"The source scene {scene.name!r} is the one to classify, whose test labels DFSL must not see; "
                    "leave it out of learner.source_scenes=[...]."
                )
        if len(self.classes) < 2:
            raise LearnerError(
                f"DFSL needs two classes with {self.settings.pixels_per_class} labelled pixels or more to meta-train "
                f"on, and {', '.join(scene.name for scene in self.sources)} has {len(self.classes)}; name more scenes "
                "by learner.source_scenes=[...]."
            )


class Windows:
    """Pixel ids (n,) -> patches (n, bands, P, P), scaled to [0, 1] by one minimum and maximum of the used bands.

    Mirror padding leaves the edge out (numpy `reflect`), as in the authors' code; nothing is padded or copied whole,
    so that a large source scene costs no memory.

    Args:
        cube: (H, W, any number of bands).
        bands: The first that are used; shorter spectra are interpolated linearly to this length.
        patch_size: P.
    """

    def __init__(self, cube: NDArray[np.generic], bands: int, patch_size: int) -> None:
        self.cube, self.bands = cube[:, :, :bands], bands
        self.offsets = np.arange(patch_size) - patch_size // 2
        self.low, high = value_range(self.cube)
        self.span = high - self.low or 1.0

    def __call__(self, pixel_ids: Ids) -> Floats:
        """Cut the patches out."""
        height, width, _ = self.cube.shape
        rows = reflected(pixel_ids[:, None] // width + self.offsets, height)
        columns = reflected(pixel_ids[:, None] % width + self.offsets, width)
        spectra = self.cube[rows[:, :, None], columns[:, None, :]].astype(np.float32)
        scaled = (spectra - np.float32(self.low)) / np.float32(self.span)
        return np.ascontiguousarray(resampled(scaled, self.bands).transpose(0, 3, 1, 2))


def reflected(positions: Ids, size: int) -> Ids:
    """Positions outside 0..size-1 mirrored at the outermost ones, of the same shape."""
    period = max(1, 2 * (size - 1))
    inside: Ids = np.abs(positions) % period
    return np.minimum(inside, period - inside)


def resampled(spectra: Floats, bands: int) -> Floats:
    """Spectra (..., b) interpolated linearly to (..., bands); those of that length as they are."""
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
    """Pixel ids of every class that has enough labelled ones."""
    values = scene.ground_truth.ravel()
    found = [np.flatnonzero(values == value) for value in scene.label_values]
    return [ids for ids in found if len(ids) >= at_least]


class Episodes:
    """Draws episodes: classes, then for each of them support and query pixels, all without repetition.

    Args:
        patches: Per class and pixel, (classes, pixels, bands, P, P).
        way: Classes W of an episode.
        settings: Number of episodes, of support pixels S and query pixels Q.
        seed: Every pass draws the same episodes from it.
    """

    def __init__(self, patches: Floats, way: int, settings: DfslSettings, seed: int) -> None:
        self.patches, self.way, self.settings, self.seed = torch.from_numpy(patches), way, settings, seed

    def __len__(self) -> int:
        return self.settings.episodes

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Support patches (W, S, bands, P, P) and query patches (W, Q, bands, P, P) of each episode."""
        generator = np.random.default_rng(self.seed)
        n_classes, n_pixels = self.patches.shape[:2]
        shots = self.settings.shots
        for _ in range(self.settings.episodes):
            classes = generator.permutation(n_classes)[: self.way, None]
            pixels = np.stack([generator.permutation(n_pixels) for _ in range(self.way)])
            drawn = self.patches[classes, pixels[:, : shots + self.settings.queries]]
            yield drawn[:, :shots], drawn[:, shots:]

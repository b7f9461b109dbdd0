"""The weighted mean of several learners' probabilities, which may be smoothed over the image."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hsi_al.files import replacing_hdf5
from hsi_al.methods.base import RefittedLearner
from hsi_al.methods.features import FeatureLearner
from hsi_al.methods.strips import StripFeatures
from hsi_al.methods.vote import TRUNCATE, halo_of
from hsi_al.outputs import Outputs

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Member:
    """A learner that votes.

    Attributes:
        name: Its name.
        learner: Gives probabilities.
        sigma: Standard deviation of the Gaussian that smooths them over the image, pixels; 0 = none.
        full_at: Number of labels from which it counts fully; 0 = always.
        featured: Whether its features are among those of the vote.
    """

    name: str
    learner: FeatureLearner
    sigma: float
    full_at: int = 0
    featured: bool = True

    def describe(self) -> str:
        """Return learner, smoothing and weight."""
        smoothed = f", probabilities smoothed over {self.sigma:g} pixels" if self.sigma else ""
        growing = f", counting fully from {self.full_at} labels on" if self.full_at else ""
        return f"{self.learner.describe()}{smoothed}{growing}"

    def weight(self, n_labelled: int) -> float:
        """Return the weight for so many labels: their number / `full_at`, 1 at most."""
        return min(1.0, n_labelled / self.full_at) if self.full_at else 1.0


@dataclass(frozen=True)
class ProbabilityRows:
    """The probabilities of a fitted learner, read by rows like a cube.

    Attributes:
        learner: Gives probabilities.
        shape: (H, W, classes).
    """

    learner: FeatureLearner
    shape: Shape

    def __getitem__(self, rows: slice, /) -> Floats:
        """Return the probabilities of rows of the scene, (rows, W, classes)."""
        width = self.shape[1]
        found = self.learner.predict(np.arange(rows.start * width, rows.stop * width)).probabilities_NC
        assert found is not None
        return found.reshape(-1, *self.shape[1:])


class VoteLearner(RefittedLearner):
    """Predicts the class with the highest weighted mean of its members' probabilities, of equal ones the first.

    Smoothing replaces a member's probabilities by their Gaussian mean over the image, unlabelled pixels included, where
    the image is mirrored at its border. It helps members whose features reach few pixels. They are kept for the whole
    scene if they fit the memory granted, else computed strip by strip; either way they are the same to the last bit.

    The embedding of a pixel is the features of its `featured` members, one after the other.

    Args:
        members: One or more, of different names.
        shape: (H, W, classes).
        needs: Optional fields of `Outputs` that `predict` has to fill in.
        memory_gb: Largest size of a member's smoothed probabilities that are kept, 10^9 bytes of float32.
    """

    provides = frozenset({"probabilities_NC", "embeddings_ND"})
    keeps_state = True

    def __init__(self, members: list[Member], shape: Shape, needs: frozenset[str], memory_gb: float) -> None:
        self.members, self.shape, self.needs, self.memory_gb = members, shape, needs, memory_gb
        self.n_labelled = 0  # of the latest fit
        self.smoothed: dict[str, StripFeatures] = {}  # probabilities of members that are smoothed

    @property
    def n_classes(self) -> int:
        """Number of classes that the members tell; when it is set, features stay, and the next fit tells so many."""
        return self.shape[2]

    @n_classes.setter
    def n_classes(self, n: int) -> None:
        self.shape = *self.shape[:2], n
        for member in self.members:
            member.learner.n_classes = n
        self._forget()

    def describe(self) -> str:
        """Return the descriptions of the members."""
        return f"vote of {' | '.join(member.describe() for member in self.members)}"

    def work(self, n_labelled: int, n_predicted: int) -> str:
        """Return the work of the members."""
        return "; ".join(member.learner.work(n_labelled, n_predicted) for member in self.members)

    def fit(self, pixel_ids: Ids, labels: Ids, round_: int, rng: np.random.Generator) -> None:
        """Fit every member, with random choices of its own.

        Raises:
            LearnerError: A feature is NaN or infinite.
        """
        for number, member in enumerate(self.members):
            member.learner.progress = partial(self._report_member, number)
            member.learner.fit(pixel_ids, labels, round_, np.random.default_rng(int(rng.integers(2**63))))
        self.n_labelled = len(pixel_ids)
        self._forget()

    def predict(self, pixel_ids: Ids) -> Outputs:
        """Predict classes, and return probabilities and features (as embeddings) if needed.

        Raises:
            LearnerError: A feature is NaN or infinite.
        """
        if len(pixel_ids) == 0:
            return Outputs(np.empty(0, np.int64))
        total = np.zeros((len(pixel_ids), self.shape[2]), np.float32)
        weights = np.array([member.weight(self.n_labelled) for member in self.members], np.float32)
        for number, (member, weight) in enumerate(zip(self.members, weights, strict=True)):
            total += weight * self._probabilities(number, member, pixel_ids)
            self._report_member(number, "scoring", 1.0)
        mean = total / weights.sum()
        return Outputs(
            mean.argmax(axis=1),
            mean if "probabilities_NC" in self.needs else None,
            embeddings_ND=self.unlabelled_features(pixel_ids) if "embeddings_ND" in self.needs else None,
        )

    def unlabelled_features(self, pixel_ids: Ids) -> Floats | None:
        """Return the features of the `featured` members side by side, (n, D); None if those of one depend on labels.

        Raises:
            LearnerError: A feature is NaN or infinite.
        """
        found = [member.learner.unlabelled_features(pixel_ids) for member in self.members if member.featured]
        known = [features for features in found if features is not None]
        return np.concatenate(known, axis=1) if len(known) == len(found) else None

    def doubts(self, pixel_ids: Ids, labels: Ids) -> Floats | None:
        """Return the mean of the doubts of the `featured` members, see `FeatureLearner.doubts`, (n,).

        Raises:
            LearnerError: A feature is NaN or infinite.
        """
        found = [member.learner.doubts(pixel_ids, labels) for member in self.members if member.featured]
        known = [doubts for doubts in found if doubts is not None]
        return np.mean(known, axis=0, dtype=np.float32) if len(known) == len(found) else None

    def save(self, path: Path) -> None:
        """Write the state of every member to a group of its name in an HDF5 file, completely or not at all.

        Raises:
            OSError: The folder can't be written, or the disk is full.
        """
        states = {member.name: member.learner.kept() for member in self.members}
        with replacing_hdf5(path) as file:
            for name, state in states.items():
                assert state is not None  # `save` follows `fit`
                state.write_into(file.create_group(name))
                file.require_dataset("limits", (2,), np.float64)[:] = state.limits

    def load(self, path: Path) -> None:
        """Restore every member.

        Raises:
            RunDirectoryError: The file is missing, damaged or of another learner.
        """
        for member in self.members:
            member.learner.load(path, member.name)
            assert member.learner.fitted is not None
            self.n_labelled = len(member.learner.fitted[1])
        self._forget()

    def _forget(self) -> None:
        """Let smoothed probabilities be computed anew."""
        self.smoothed = {
            member.name: StripFeatures(
                ProbabilityRows(member.learner, self.shape),
                partial(smoothed, sigma=member.sigma),
                self.shape[2],
                halo_of(member.sigma),
                self.memory_gb,
            )
            for member in self.members
            if member.sigma
        }

    def _probabilities(self, number: int, member: Member, pixel_ids: Ids) -> Floats:
        """Return a member's probabilities of pixel ids (n,), (n, classes)."""
        if member.sigma:
            member.learner.progress = None  # it would begin anew with every strip
            return self.smoothed[member.name].at(pixel_ids)
        member.learner.progress = partial(self._report_member, number)
        found = member.learner.predict(pixel_ids).probabilities_NC
        assert found is not None
        return found

    def _report_member(self, number: int, text: str, part: float) -> None:
        self.report(f"{self.members[number].name}: {text}", (number + part) / len(self.members))


def smoothed(probabilities: Floats, sigma: float) -> Floats:
    """Return the Gaussian mean of probabilities (rows, W, classes) over rows and columns, mirrored at the border."""
    found: Floats = gaussian_filter(probabilities, (sigma, sigma, 0), mode="reflect", truncate=TRUNCATE)
    return found

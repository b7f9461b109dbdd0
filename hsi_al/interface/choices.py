"""Learners and acquisition functions that are chosen before there is a scene."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hsi_al.acquisition.base import Acquisition, NoAcquisition, PoolView, Scores
from hsi_al.acquisition.factory import build_acquisition, own_batch
from hsi_al.acquisition.ranking import Score, name_of
from hsi_al.acquisition.registry import SCORES, Batch, acquisitions
from hsi_al.acquisition.selection import Selection
from hsi_al.config.schema import Config
from hsi_al.errors import ConfigurationError
from hsi_al.interface.settings import configured, in_group, option_keys
from hsi_al.methods.own import Features, Probabilistic, own_method
from hsi_al.methods.registry import all_methods
from hsi_al.methods.room import Method

LAMBDA = "lambda"


@dataclass(frozen=True)
class LearnerChoice:
    """A learner and its options, from which every experiment builds its own; made by `make_learner`.

    Attributes:
        name: Its name.
        keys: Values by dotted key of the configuration.
        own: Its declaration, if it is the caller's own; None = the one that the name selects.
    """

    name: str
    keys: Mapping[str, Any]
    own: Method | None = field(default=None, repr=False)

    def settled(self) -> tuple[dict[str, Any], Method]:
        """Return keys and declaration."""
        return dict(self.keys), self.own or all_methods()[self.name]


@dataclass(frozen=True)
class AcquisitionChoice:
    """An acquisition function and its options; made by `make_acquisition`.

    Attributes:
        name: Its name.
        keys: Values by dotted key of the configuration.
        own: The function that picks, if it is the caller's own.
        whole: An acquisition function as a whole, which takes no options.
    """

    name: str
    keys: Mapping[str, Any]
    own: Batch | None = field(default=None, repr=False)
    whole: Acquisition | None = field(default=None, repr=False)

    def built(self, config: Config) -> Acquisition:
        """Build the function for a run.

        Raises:
            ConfigurationError: An option is set that the function doesn't take.
        """
        return self.whole or build_acquisition(self.name, config.acquisition, self.own)


def make_learner(
    learner: str | Probabilistic | type[Probabilistic],
    *,
    features: Features | None = None,
    backbone: str | None = None,
    **options: Any,  # noqa: ANN401
) -> LearnerChoice:
    """Choose a learner.

    Args:
        learner: Name of a learner of this package, such as `profile_trees`, `lda`, `svm` or `deep`; or a classifier by
            scikit-learn's contract, an object or class with `fit(X, y)` and `predict_proba(X)`, where y holds class
            indices. It is copied and fitted anew in every round; where its `random_state` is None, it gets a seed.
        features: Features of all pixels for a classifier of your own, (H * W, D) or (H, W, D); or a function that
            computes them from the cube (H, W, bands). Default: standardised spectra.
        backbone: The network of `deep`.
        options: Keys `learner.<name>` of the command line, such as `trees=300` or `windows=[1, 5]`; `patch_size`; keys
            of other groups by their dotted names, such as `**{"trainer.accelerator": "cpu"}`.

    Raises:
        ConfigurationError: There is no such learner, backbone or option.
        LearnerError: The classifier lacks `fit` or `predict_proba`.
    """
    own = None
    if isinstance(learner, str):
        keys = option_keys("learner", learner)
        name = learner
        if features is not None:
            raise ConfigurationError(
                f"learner={learner} computes its own features; give features to a classifier of your own."
            )
    else:
        own = own_method(learner, features)
        keys, name = {}, own.name
    if backbone is not None:
        keys |= option_keys("backbone", backbone)
    choice = LearnerChoice(name, keys | in_group("learner", options), own)
    configured(*choice.settled())
    return choice


def make_acquisition(
    acquisition: str | Score | Callable[[PoolView], Scores] | Acquisition,
    *,
    needs: Iterable[str] | None = None,
    subset: int | None = None,
    min_distance: int | None = None,
    class_balance: bool | None = None,
    **options: Any,  # noqa: ANN401
) -> AcquisitionChoice:
    """Choose an acquisition function.

    Args:
        acquisition: Name of a function of this package, such as `margin`; or a function of your own that returns
            scores, higher = more wanted: its arguments are named as the fields of `Outputs` that it reads, such as
            `probabilities_NC`, or it has one argument `view`, the `PoolView` of all candidates. An object with `name`,
            `needs` and `select` is taken as it is.
        needs: Fields of `Outputs` that a function of a view reads; default: `probabilities_NC`.
        subset: Look at only so many random candidates.
        min_distance: Smallest distance between two pixels of a query, in rows or columns.
        class_balance: Equally many pixels of every predicted class.
        options: Other keys `acquisition.<name>` of the command line: `by`, `by_step`, `draws`, `shortlist`,
            `neighbours`, `radius`.

    Raises:
        ConfigurationError: There is no such function or option, a function's arguments are not as above, or one of
            your own has the name of another.
    """
    around = {"subset": subset, "min_distance": min_distance, "class_balance": class_balance}
    given = in_group("acquisition", {**{key: value for key, value in around.items() if value is not None}, **options})
    if isinstance(acquisition, str):
        choice = AcquisitionChoice(acquisition, option_keys("acquisition", acquisition) | given)
    elif isinstance(acquisition, Acquisition):
        if given:
            raise ConfigurationError(f"{acquisition.name} selects by itself; leave out {', '.join(sorted(given))}.")
        require_free(acquisition.name, isinstance(acquisition, Selection | NoAcquisition))
        choice = AcquisitionChoice(acquisition.name, {"acquisition.name": acquisition.name}, whole=acquisition)
    elif callable(acquisition):
        name = name_of(acquisition).replace("<lambda>", LAMBDA)
        require_free(name, SCORES.get(name) is acquisition)
        batch = own_batch(acquisition) if needs is None else own_batch(acquisition, needs)
        choice = AcquisitionChoice(name, {"acquisition.name": name, **given}, own=batch)
    else:
        raise ConfigurationError(f"{acquisition!r} is no acquisition function; give a name or a function.")
    choice.built(configured(choice.keys))
    return choice


def require_free(name: str, is_ours: bool) -> None:
    """Raise ConfigurationError if a function of the caller's own has the name of one of this package."""
    if name in acquisitions() and not is_ours:
        raise ConfigurationError(
            f"There is an acquisition function {name} already, with which a saved run of yours would be confused; give "
            "yours another name."
        )


def as_learner(learner: str | LearnerChoice | Probabilistic | type[Probabilistic]) -> LearnerChoice:
    """Return what is chosen already as it is, and anything else as `make_learner` takes it without options."""
    return learner if isinstance(learner, LearnerChoice) else make_learner(learner)


def as_acquisition(
    acquisition: str | AcquisitionChoice | Score | Callable[[PoolView], Scores] | Acquisition,
) -> AcquisitionChoice:
    """Return what is chosen already as it is, and anything else as `make_acquisition` takes it without options."""
    return acquisition if isinstance(acquisition, AcquisitionChoice) else make_acquisition(acquisition)

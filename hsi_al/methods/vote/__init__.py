"""A vote of learners: their probabilities are averaged, some of them after smoothing over the image."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hsi_al.config.schema import WINDOWS, Config, SpectraConfig
from hsi_al.errors import ConfigurationError
from hsi_al.methods.room import Method, Task, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.vote.learner import VoteLearner

TRUNCATE = 4.0  # standard deviations at which a Gaussian ends
NEEDED = frozenset({"probabilities_NC"})  # outputs of a member that are averaged


@dataclass
class VoteConfig(SpectraConfig):
    """Keys of the vote, and those of its members that learn from spectra; other members have their default keys."""

    members: list[str] = option(["lda", "profile_trees"], "learners whose probabilities are averaged")
    smooth: list[float] = option(
        [4, 0],
        "for each member the standard deviation of the Gaussian that smooths its probabilities over the image, pixels; "
        "0 = none",
        low=0,
        most=1000,
    )
    full_at: int = option(
        100,
        "members on spectra: the number of labels from which they count as much as the others; with fewer their weight "
        "is that of their share of it; 0 = always",
        low=0,
        most=10**9,
    )
    windows: list[int] = option([3], f"members on spectra: {WINDOWS}", low=1, most=10**4)
    unit_length: bool = option(False, "members on spectra: divide every spectrum by its Euclidean length")
    derivatives: bool = option(True, "members on spectra: append the differences between neighbouring bands")


def halo_of(sigma: float) -> int:
    """Return the rows above and below a pixel that its smoothed probabilities depend on."""
    return int(TRUNCATE * sigma + 0.5)


def members_of(config: Config) -> list[Config]:
    """Return the configuration of each member.

    Raises:
        ConfigurationError: There is none, one comes twice or can't vote, or not every member has its smoothing.
    """
    from hsi_al.methods.registry import own_methods, with_learner

    settings = settings_in(config, VoteConfig)
    members, given = settings.members, ",".join(settings.members)
    able = [
        name
        for name, method in own_methods().items()
        if method.in_windows and method.keeps_network and method.state_suffix == ".h5" and method.provides >= NEEDED
        if name != METHOD.name
    ]
    if not members or not set(members) <= set(able) or len(set(members)) < len(members):
        raise ConfigurationError(
            f"learner.members=[{given}] must be one or more different learners that give probabilities and whose "
            f"classifier is kept; choose among {', '.join(able)}."
        )
    if len(settings.smooth) != len(members):
        raise ConfigurationError(
            f"learner.smooth={list(settings.smooth)} must have one number for each of learner.members=[{given}]; write "
            "0 for a member whose probabilities stay as they are."
        )
    spectra: dict[str, Any] = {
        "windows": settings.windows,
        "unit_length": settings.unit_length,
        "derivatives": settings.derivatives,
    }
    found = [with_learner(config, name) for name in members]
    return [
        replace(member, learner=replace(member.learner, **spectra))
        if isinstance(member.learner, SpectraConfig)
        else member
        for member in found
    ]


def window_of(config: Config) -> int:
    """Return the side of the largest window that a member learns from, with what smoothing adds to it."""
    from hsi_al.methods.registry import method_of

    settings, members = settings_in(config, VoteConfig), members_of(config)
    windows = [method_of(member).window(member) or 1 for member in members]
    return max(window + 2 * halo_of(sigma) for window, sigma in zip(windows, settings.smooth, strict=True))


def build(task: Task) -> "VoteLearner":
    """Build the learner."""
    from hsi_al.methods.registry import build_learner
    from hsi_al.methods.vote.learner import Member, VoteLearner

    settings, height, width = settings_in(task.config, VoteConfig), *task.cube.shape[:2]
    configs = members_of(task.config)
    on_spectra = [isinstance(config.learner, SpectraConfig) for config in configs]
    members = [
        Member(
            config.learner.name,
            build_learner(replace(task, config=config, needs=NEEDED)),  # type: ignore[arg-type]
            sigma,
            # Such a member needs more labels than those that see places, and its many features would hide theirs.
            full_at=settings.full_at if spectral and not all(on_spectra) else 0,
            featured=not spectral or all(on_spectra),
        )
        for config, sigma, spectral in zip(configs, settings.smooth, on_spectra, strict=True)
    ]
    return VoteLearner(members, (height, width, task.n_classes), task.needs, task.config.dataset.memory_gb)


METHOD = Method(
    "vote",
    "Vote",
    VoteConfig,
    build,
    provides=frozenset({"probabilities_NC", "embeddings_ND"}),
    window=window_of,
    in_windows=True,
    keeps_network=True,
    state_suffix=".h5",
    compared=False,
)

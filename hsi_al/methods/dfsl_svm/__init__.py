"""Features of deep few-shot learning (DFSL, Liu et al. 2019) on other scenes, and an RBF SVM."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import Config, EffortConfig
from hsi_al.errors import LearnerError
from hsi_al.methods.room import Method, Task, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.features import FeatureLearner
    from hsi_al.scenes.scene import Scene

PATCH_SIZE = 9


@dataclass
class DfslSvmConfig(EffortConfig):
    """Keys of deep few-shot learning on other scenes with an SVM."""

    source_scenes: list[str] | None = option(
        None, "labelled scenes to meta-train on, as names or scene files; default: all others that need no download"
    )


def build(task: Task) -> "FeatureLearner":
    """Build the learner.

    Raises:
        SceneError: A named source scene can't be loaded.
        LearnerError: There is no source scene, or one shares pixels with the scene to classify.
    """
    from hsi_al.methods.dfsl_svm.extractor import EFFORTS, DfslExtractor
    from hsi_al.methods.features import feature_learner
    from hsi_al.methods.grid_svm import GridSvm

    config, settings = task.config, settings_in(task.config, DfslSvmConfig)
    sources = source_scenes(config, settings.source_scenes)
    extractor = DfslExtractor(task.array, sources, EFFORTS[settings.effort], config.trainer.accelerator)
    return feature_learner(task, extractor, GridSvm("rbf", 4))


def source_scenes(config: Config, names: list[str] | None) -> "list[Scene]":
    """Load the scenes to meta-train on: the named ones, or by default all other scenes that need no download.

    Raises:
        SceneError: A named scene can't be loaded.
        LearnerError: There is no source scene, or one shares pixels with the scene to classify.
    """
    from hsi_al.scenes.catalogue import CATALOGUE, data_folder, expanded, is_at_hand, load_catalogue_scene, whole_of
    from hsi_al.scenes.scene import load_scene

    folder, target = data_folder(config.data_dir), config.dataset.name
    if names is None:
        at_hand = [name for name in CATALOGUE if whole_of(name) != whole_of(target) and is_at_hand(name, folder)]
        names = [name for name in at_hand if whole_of(name) == name or whole_of(name) not in at_hand]
        if not names:
            raise LearnerError(
                f"learner=dfsl_svm is trained on scenes other than {target}, and none was found; name some with "
                "learner.source_scenes=[salinas,pavia_university], or set data_dir to a folder that holds some."
            )
    if same := [name for name in names if whole_of(name) == whole_of(target)]:
        raise LearnerError(
            f"learner.source_scenes holds {', '.join(same)}, which shares pixels with {target}; leave it out."
        )
    return [load_catalogue_scene(name, folder) if name in CATALOGUE else load_scene(expanded(name)) for name in names]


METHOD = Method(
    "dfsl_svm",
    "DFSL+SVM",
    DfslSvmConfig,
    build,
    provides=frozenset({"probabilities_NC", "embeddings_ND"}),
    window=lambda config: PATCH_SIZE,
)

"""Extended morphological profiles (EMP, Benediktsson et al. 2005) and an RBF SVM."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import LearnerConfig
from hsi_al.methods.room import Method, Task, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.features import FeatureLearner


@dataclass
class EmpSvmConfig(LearnerConfig):
    """Keys of the morphological profiles."""

    components: float = option(
        3, "number of principal components; below 1: the fraction of the variance that they explain", low=0, most=10**6
    )
    reconstruction: bool = option(False, "openings and closings by reconstruction, as in the classical EMP")
    radii: list[int] = option(
        [1, 3, 5, 7, 9], "half-widths r of the square structuring elements, whose side is 2r + 1", low=0, most=1000
    )


def build(task: Task) -> "FeatureLearner":
    """Build the learner."""
    from hsi_al.methods.emp_svm.extractor import EmpExtractor
    from hsi_al.methods.features import feature_learner
    from hsi_al.methods.grid_svm import GridSvm

    return feature_learner(task, EmpExtractor(task.array, settings_in(task.config, EmpSvmConfig)), GridSvm("rbf", 5))


METHOD = Method("emp_svm", "EMP+SVM", EmpSvmConfig, build, provides=frozenset({"probabilities_NC", "embeddings_ND"}))

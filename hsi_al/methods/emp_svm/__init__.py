"""Extended morphological profiles (EMP, Benediktsson et al. 2005) and an RBF SVM."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_al.config.schema import LearnerConfig
from hsi_al.methods.room import Method, Task, settings_in
from hsi_al.options import option

if TYPE_CHECKING:
    from hsi_al.methods.svm import FeatureSvmLearner


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


def build(task: Task) -> "FeatureSvmLearner":
    """Build the learner."""
    from hsi_al.methods.emp_svm.extractor import EmpExtractor
    from hsi_al.methods.svm import GridSvm, feature_svm

    return feature_svm(task, EmpExtractor(task.array, settings_in(task.config, EmpSvmConfig)), GridSvm("rbf", 5))


METHOD = Method("emp_svm", "EMP+SVM", EmpSvmConfig, build, provides=frozenset({"probabilities_NC", "embeddings_ND"}))

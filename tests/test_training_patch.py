import pytest

from hsi_al.build import training_patch
from hsi_al.config import LEARNERS, Cnn3dConfig, Config, LearnerConfig


@pytest.mark.parametrize("name", LEARNERS)
def test_the_patch_of_every_learner(name: str) -> None:
    known = {"deep": 24, "cnn3d": 5, "scnn_svm": 9, "cae3d_svm": 5, "dfsl_svm": 9}
    assert training_patch(Config(learner=LEARNERS[name](name=name), patch_size=24)) == known.get(name)


@pytest.mark.parametrize(("architecture", "side"), [("hamida", 5), ("li", 5), ("res3d", 9)])
def test_the_patch_of_3d_networks(architecture: str, side: int) -> None:
    learner: LearnerConfig = Cnn3dConfig(name="cnn3d", architecture=architecture)
    assert training_patch(Config(learner=learner)) == side

import pytest

from hsi_al.config.schema import BackboneConfig, Config
from hsi_al.methods.cnn3d import Cnn3dConfig
from hsi_al.methods.deep import DeepLearnerConfig
from hsi_al.methods.registry import all_methods, method_of


@pytest.mark.parametrize("name", all_methods())
def test_the_window_of_every_learner(name: str) -> None:
    known = {"deep": 24, "cnn3d": 5, "scnn_svm": 9, "cae3d_svm": 5, "dfsl_svm": 9, "lda": 5, "svm": 1}
    known |= {"random_forest": 1, "profile_trees": 65, "vote": 65}  # a Gaussian of 8 pixels, cut at 4 deviations
    config = Config(learner=all_methods()[name].settings(name=name), backbone=BackboneConfig("lenet"), patch_size=24)
    assert method_of(config).window(config) == known.get(name)


@pytest.mark.parametrize(("architecture", "side"), [("hamida", 5), ("li", 5), ("res3d", 9)])
def test_the_window_of_3d_networks(architecture: str, side: int) -> None:
    config = Config(learner=Cnn3dConfig(name="cnn3d", architecture=architecture))
    assert method_of(config).window(config) == side


@pytest.mark.parametrize(("backbone", "side"), [("spectral", 1), ("lenet", 24), ("densenet121", 24), ("small", 24)])
def test_a_network_of_one_pixel_has_a_window_of_one_pixel(backbone: str, side: int) -> None:
    config = Config(learner=DeepLearnerConfig(name="deep"), backbone=BackboneConfig(backbone), patch_size=24)
    assert method_of(config).window(config) == side

"""Every YAML composes, passes its checks and can be built; every experiment runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from hsi_al.acquisition.factory import build_acquisition
from hsi_al.acquisition.registry import acquisitions
from hsi_al.active.parts import build_scene
from hsi_al.cli import composition
from hsi_al.config.folder import configuration_folder
from hsi_al.config.kept import differing_keys, load_kept, to_yaml
from hsi_al.config.schema import Config
from hsi_al.methods.deep import DeepLearnerConfig
from hsi_al.methods.deep.backbones.base import Plan
from hsi_al.methods.deep.backbones.registry import build_backbone, networks
from hsi_al.methods.registry import own_methods, settings_of
from hsi_al.options import options_of
from hsi_al.pool.cold_start import COLD_STARTS
from hsi_al.pool.initial import DRAWS
from hsi_al.scenes.catalogue import CATALOGUE
from tests.conftest import CommandLine

NEWER_KEYS = ("compile", "predict_precision")

CONF = configuration_folder()
OPTIONS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml"))
SHARED = {"fig4": "paper", "fig5": "paper", "table": "paper"}  # runs that several figures and tables use


def composed(*overrides: str) -> Config:
    return composition.composed(list(overrides))[0]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(group: str, option: str) -> None:
    config = composed(f"{group}={option}", *(["protocol.rounds=0"] if option == "none" else []))
    part = getattr(config, group)
    assert getattr(part, "name", option) == SHARED.get(option, option) or group == "trainer"


def test_the_default_is_the_papers_protocol() -> None:
    config = composed("dataset=salinas", "backbone=densenet169")
    protocol = config.protocol
    assert (protocol.initial_size, protocol.query_size, protocol.rounds) == (160, 10, 32)
    assert (protocol.epochs, protocol.batch_size, protocol.lr, protocol.schedule) == (200, 10, 1e-3, "constant")
    recipe = (protocol.augment, protocol.lr_warm_up, protocol.label_smoothing, protocol.average_weights)
    assert recipe == (False, 0, 0, None)
    assert (protocol.stem, protocol.warm_start, protocol.initial, protocol.min_per_class) == ("s1", False, "uniform", 0)
    assert (config.acquisition.name, config.acquisition.subset) == ("loss_prediction", None)
    assert (config.split.kind, config.patch_size, config.seed) == ("paper", 32, 0)
    assert config.learner.name == "deep"


def test_strong_adds_averaged_weights_to_the_papers_protocol() -> None:
    paper, strong = composed().protocol, composed("protocol=strong").protocol
    assert strong == replace(paper, name="strong", average_weights=0.99)


@pytest.mark.parametrize("name", [name for group, name in OPTIONS if group == "backbone"])
def test_every_backbone_builds(name: str) -> None:
    config = composed(f"backbone={name}").backbone
    with torch.device("meta"):
        backbone = build_backbone(Plan(config.name, 4, 3))
        logits, _ = backbone(torch.empty(2, 4, 32, 32))
    assert logits.shape == (2, 3)


@pytest.mark.parametrize("name", ["indian_pines", "indian_pines_16"])
def test_embedded_datasets_load(name: str) -> None:
    scene = build_scene(composed(f"dataset={name}"))
    assert scene.n_classes == {"indian_pines": 9, "indian_pines_16": 16}[name]


def test_files_and_code_name_the_same_things() -> None:
    names = {
        group: {name for kind, name in OPTIONS if kind == group}
        for group in ("dataset", "backbone", "acquisition", "learner")
    }
    assert names["dataset"] == {*CATALOGUE, "custom", "toulouse"}
    assert names["backbone"] == set(networks())
    assert names["acquisition"] == set(acquisitions())
    assert all(build_acquisition(name).name == name for name in acquisitions())
    choices = {key: allowed.choices for key, _, allowed in options_of(Config(learner=DeepLearnerConfig()))}
    assert set(choices["protocol.initial"]) == {*DRAWS, *COLD_STARTS}
    assert names["learner"] == set(own_methods())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for group, name in OPTIONS if group == "experiment"])
@pytest.mark.usefixtures("no_figures")
def test_every_experiment_runs_in_smoke_mode(command_line: CommandLine, name: str) -> None:
    options = {
        "table": ["protocol.rounds=0"],
        "screen": ["protocol.rounds=0"],
        "few_labels": ["protocol.rounds=1"],
        "new_ground": ["protocol.initial_size=10"],
        **{name: ["backbone=spectral"] for name in ("fig4", "fig5", "demo")},
    }
    outcome = command_line(
        f"experiment={name}", "protocol=smoke", *options.get(name, []), "protocol.max_pixels=100", "trainer.threads=1"
    )
    assert outcome.code == 0, outcome.err
    assert Path("outputs", SHARED.get(name, name)).is_dir()


def test_a_kept_configuration_comes_back(tmp_path: Path) -> None:
    given = ["dataset=salinas_a", "protocol=short", "learner.detach=null", "dataset.classes=[1,10]"]
    config = composed(*given)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_kept(path, settings_of) == config
    assert OmegaConf.load(path).learner.detach is None
    assert differing_keys(path, config) == []
    earlier = OmegaConf.load(path)
    for key in ("min_distance", "class_balance", "draws"):
        del earlier.acquisition[key]
    path.write_text(OmegaConf.to_yaml(earlier))  # of a version that had no such keys and did what is now default
    assert load_kept(path, settings_of) == config
    assert differing_keys(path, config) == []
    spread = composed(*given, "acquisition.min_distance=5", "acquisition.class_balance=true")
    assert differing_keys(path, spread) == [
        "acquisition.class_balance (False -> True)",
        "acquisition.min_distance (None -> 5)",
    ]
    del earlier.trainer.devices  # of a version that had no such key
    OmegaConf.save(earlier, path)
    assert differing_keys(path, config) == []
    two = composed(
        "dataset=salinas_a", "protocol=short", "learner.detach=null", "dataset.classes=[1,10]", "trainer.devices=2"
    )
    assert differing_keys(path, two) == ["trainer.devices (1 -> 2)"]
    other = composed("dataset=salinas_a", "protocol=short", "dataset.classes=[1,10]", "trainer.threads=3", "seed=4")
    assert differing_keys(path, other) == ["learner.detach (None -> 0.6)", "seed (0 -> 4)"]


def test_a_run_from_before_compiling_and_precision_of_scoring_is_continued(tmp_path: Path) -> None:
    config, path = composed("protocol=short"), tmp_path / "config.yaml"
    kept = [line for line in to_yaml(config).splitlines() if line.split(":")[0].strip() not in NEWER_KEYS]
    path.write_text("\n".join(kept))
    assert len(to_yaml(config).splitlines()) == len(kept) + len(NEWER_KEYS)
    assert differing_keys(path, config) == []
    assert load_kept(path, settings_of) == config
    assert differing_keys(path, composed("protocol=short", "trainer.compile=on")) == []
    coarser = composed("protocol=short", "trainer.predict_precision=bf16-mixed")
    assert differing_keys(path, coarser) == ["trainer.predict_precision (None -> bf16-mixed)"]

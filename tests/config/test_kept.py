"""Kept configurations, which may be a stranger's: plain data in bounded time and memory, nothing of them resolved."""

import math
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from hsi_al.cli.arguments import parsed_arguments
from hsi_al.config.kept import differing_keys, load_kept, to_dict, to_yaml
from hsi_al.config.plain import check_folder, literal, plain_yaml
from hsi_al.config.schema import Config
from hsi_al.errors import ConfigurationError, RunDirectoryError
from hsi_al.methods.registry import own_methods, settings_of
from hsi_al.report.series import kept_settings


def config(**dataset: object) -> Config:
    made = Config(learner=own_methods()["deep"].settings(name="deep", method="deep"))
    made.split.kind, made.oracle.name, made.logger.name = "paper", "ground_truth", "none"
    for part in (made.dataset, made.protocol, made.backbone, made.acquisition, made.experiment):
        part.name = "x"
    for key, value in dataset.items():
        setattr(made.dataset, key, value)
    return made


def test_the_text_is_that_of_omegaconf() -> None:
    made = config(class_names=["Corn (till)", "Öl", "yes", "3", "1.5", "2024-01-01", "a: b"], memory_gb=1e-9)
    assert to_yaml(made) == OmegaConf.to_yaml(OmegaConf.structured(made))
    assert to_dict(made) == OmegaConf.to_container(OmegaConf.structured(made))


@pytest.mark.parametrize(
    "text", ["a${x", "${seed}", "${oc.env:HOME}", "\\${a}", "\\\\${a}", "1e3", "é", "a\nb", "null"]
)
def test_texts_come_back_as_they_are(tmp_path: Path, text: str) -> None:
    made, path = config(cube_file=text, class_names=[text]), tmp_path / "config.yaml"
    path.write_text(to_yaml(made), encoding="utf-8")
    assert load_kept(path, settings_of) == made
    assert differing_keys(path, made) == []
    assert OmegaConf.to_container(OmegaConf.create({"a": literal(text)}), resolve=True) == {"a": text}


def test_a_value_that_is_nan_is_no_difference(tmp_path: Path) -> None:
    made, path = config(no_data=[-9999.0, math.nan]), tmp_path / "config.yaml"
    path.write_text(to_yaml(made), encoding="utf-8")
    assert differing_keys(path, made) == []
    assert differing_keys(path, config(no_data=[-1.0])) == ["dataset.no_data ([-9999.0, nan] -> [-1.0])"]


def test_nothing_of_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSI_AL_SECRET", "very secret")
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config(cube_file="${oc.env:HSI_AL_SECRET}")), encoding="utf-8")
    kept = load_kept(path, settings_of)
    assert kept.dataset.cube_file == "${oc.env:HSI_AL_SECRET}"
    for text in (to_yaml(kept), str(to_dict(kept)), str(differing_keys(path, config())), str(kept_settings(tmp_path))):
        assert "very secret" not in text and "oc.env" in text
    path.write_text(path.read_text().replace("seed: 0", "seed: ${oc.decode:${oc.env:HSI_AL_SECRET}}"))
    with pytest.raises(RunDirectoryError) as raised:
        load_kept(path, settings_of)
    assert "very secret" not in str(raised.value)


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "it has aliases"),
        ("a: &a {b: *a}\n", "it has aliases"),
        ("[" * 20_000, "nested too deeply"),
        ("a: !!python/object/apply:os.system ['touch ran']\n", "could not determine a constructor"),
        ("a: !!python/name:os.system\n", "could not determine a constructor"),
        ("a: " + "x" * 2**17, "more than 131072 bytes"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("- 1\n", ""),
        ("learner: [1]\n", ""),
        ("learner: {name: [1]}\n", ""),
        ("learner: {name: nosuch}\n", "nosuch"),
        ("1: 2\n", "learner"),
        ("", ""),
        ("\x00", "special characters"),
    ],
)
def test_what_is_no_kept_configuration_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunDirectoryError) as raised:
        load_kept(path, settings_of)
    assert says in str(raised.value) and str(path) in str(raised.value)
    if says not in ("", "learner", "nosuch"):
        with pytest.raises((ValueError, yaml.YAMLError)):
            plain_yaml(path)
        with pytest.raises(RunDirectoryError):
            differing_keys(path, config())
        with pytest.raises(RunDirectoryError):
            kept_settings(tmp_path)
    assert not Path("ran").exists()


def test_values_out_of_range_are_said(tmp_path: Path) -> None:
    path, text = tmp_path / "config.yaml", to_yaml(config())
    for known, wrong, says in (
        ("patch_size: 32", "patch_size: 4294967296", "patch_size=4294967296 must be 1024 or less"),
        ("lr: 0.001", "lr: .nan", "protocol.lr=nan must be above 0"),
    ):
        path.write_text(text.replace(known, wrong), encoding="utf-8")
        with pytest.raises(RunDirectoryError, match=says):
            load_kept(path, settings_of)


MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "its aliases stand for more than 100000 values"),
        (MERGES, "its aliases stand for more than 100000 values"),
        ("name: &a [*a]\n", "its aliases stand for more than 100000 values"),
        ("name: " + "[" * 20_000, "nested too deeply"),
        ("name: [\n", "expected the node content"),
        ("x" * 2**18, "more than 131072 bytes"),
    ],
)
def test_folders_of_configurations_are_bounded(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "protocol" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=says) as raised:
        check_folder(tmp_path)
    assert str(path) in str(raised.value)
    with pytest.raises(ConfigurationError, match=says):
        parsed_arguments(["--config-dir", str(tmp_path), "protocol=mine"])


def test_aliases_may_be_used_in_a_folder_of_configurations(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "mine.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: [*a, *a]}\n", encoding="utf-8")
    check_folder(tmp_path)
    check_folder(tmp_path / "absent")  # Hydra says so

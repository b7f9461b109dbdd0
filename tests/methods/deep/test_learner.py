"""The deep learner on a tiny scene, with LeNet and with a narrow ResNet of the same parts as the real ones."""

import logging
import pickle
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsi_al.errors import ConfigurationError, LearnerError, PoolError, RunDirectoryError
from hsi_al.methods.deep.backbones import resnet
from hsi_al.methods.deep.backbones.base import Network
from hsi_al.methods.deep.backbones.registry import networks
from hsi_al.methods.deep.classifier import ActiveClassifier
from hsi_al.methods.deep.learner import DeepLearner, DeepSettings, balanced_weights, read_weights
from hsi_al.training.trainer import quiet_lightning

Ids = NDArray[np.int64]
SIDE, BANDS, CLASSES = 12, 4, 3
ALL = np.arange(SIDE * SIDE, dtype=np.int64)
LENET = DeepSettings().having(backbone="lenet", patch_size=16, epochs=2, warm_epochs=3, accelerator="cpu")
NARROW = LENET.having(backbone="narrow", patch_size=8, stem="s2_pool")
LOSS = frozenset({"predicted_loss_N"})
DRAWS = frozenset({"mc_probabilities_NKC"})
EVERYTHING = LOSS | {"probabilities_NC", "embeddings_ND"}


@pytest.fixture(autouse=True)
def narrow_resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resnet, "WIDTHS", (8, 12, 16, 20))
    monkeypatch.setitem(resnet.LAYERS, "narrow", ((1, 1, 1, 1), 1))
    monkeypatch.setitem(networks(), "narrow", Network(resnet.build))


def scene(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((SIDE, SIDE, BANDS), dtype=np.float32)


def learner(settings: DeepSettings = LENET, needs: frozenset[str] = frozenset(), **changes: Any) -> DeepLearner:
    return DeepLearner(scene(), CLASSES, ALL, settings.having(**changes), needs)


def labelled(n: int = 25) -> tuple[Ids, Ids]:
    pixel_ids = np.random.default_rng(1).choice(ALL, n, replace=False)
    return pixel_ids, np.arange(n) % CLASSES


def fit(deep: DeepLearner, round_: int = 0, seed: int = 3, n: int = 25) -> DeepLearner:
    deep.fit(*labelled(n), round_, np.random.default_rng(seed))
    return deep


def weights(deep: DeepLearner) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in deep.module.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[key], second[key]) for key in first)


def spied(deep: DeepLearner, look: Callable[[], Any]) -> list[Any]:
    """What `look` sees after every training step or scored batch."""
    seen: list[Any] = []
    deep.progress = lambda text, part: seen.append(look())
    return seen


# Fitting


@pytest.mark.parametrize(("settings", "needs"), [(LENET, frozenset()), (NARROW, LOSS)])
def test_fit_depends_on_its_generator_alone(settings: DeepSettings, needs: frozenset[str]) -> None:
    results = []
    for global_seed, seed in ((1, 3), (2, 3), (2, 4)):
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            deep = learner(settings, needs, dropout=0.5)
            state = torch.get_rng_state()
            fit(deep, seed=seed)
            assert torch.equal(torch.get_rng_state(), state)
            results.append(weights(deep))
    assert same(results[0], results[1])
    assert not same(results[1], results[2])


def test_the_shuffling_comes_from_the_generator_too() -> None:
    seeds = [fit(learner(epochs=1), seed=seed).datamodule.shuffling.initial_seed() for seed in (3, 3, 4)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_training_does_train() -> None:
    deep = learner(NARROW, LOSS, epochs=1)
    fit(deep)
    trained = weights(deep)
    fresh = weights(fit(learner(NARROW, LOSS, epochs=1, lr=0.0)))
    moved = {key for key in fresh if not torch.equal(fresh[key], trained[key])}
    assert {"backbone.classifier.weight", "backbone.stem.0.weight", "loss_prediction.head.weight"} <= moved


def test_warm_rounds_continue_and_cold_ones_start_anew() -> None:
    # With a learning rate of 0, training leaves the weights where the round began.
    warm, cold = fit(learner(warm_start=True)), fit(learner(warm_start=False))
    assert (warm.warm, cold.warm) == (True, False)
    assert same(weights(warm), weights(cold))
    trained = weights(warm)
    for deep in (warm, cold):
        deep.settings = deep.settings.having(lr=0.0)
        fit(deep, round_=1, seed=8)
    assert same(weights(warm), trained)
    assert not same(weights(cold), trained)
    assert same(weights(cold), weights(fit(learner(lr=0.0), seed=8)))


def test_round_0_is_fresh_even_when_warm() -> None:
    deep = fit(learner(warm_start=True))
    first = weights(deep)
    assert same(weights(fit(deep)), first)


def test_a_warm_learner_that_was_built_anew_trains_as_in_the_first_round() -> None:
    """As in a labelling session that is opened again, or has another class: there are no weights to continue from."""
    first, again = (fit(learner(warm_start=True, warm_epochs=1), round_=round_) for round_ in (0, 2))
    assert same(weights(first), weights(again))
    assert first.module.plan.epochs == again.module.plan.epochs == 2
    assert fit(again, round_=3).module.plan.epochs == 1


def test_a_cold_round_forgets_batch_statistics() -> None:
    used = fit(fit(learner(NARROW), seed=1), round_=1, seed=5)
    assert same(weights(used), weights(fit(learner(NARROW), round_=1, seed=5)))


@pytest.mark.parametrize(
    ("warm_start", "round_", "epochs"), [(True, 0, 2), (True, 1, 3), (True, 2, 3), (False, 0, 2), (False, 2, 2)]
)
def test_epochs_of_a_round(warm_start: bool, round_: int, epochs: int) -> None:
    deep = fit(learner(warm_start=True))
    deep.settings = deep.settings.having(warm_start=warm_start)
    texts: list[str] = []
    deep.progress = lambda text, part: texts.append(text)
    fit(deep, round_=round_)
    # 25 pixels are three batches.
    assert texts == [f"epoch {epoch + 1}/{epochs}" for epoch in range(epochs) for _ in range(3)]
    assert deep.module.plan.epochs == deep.epochs(round_) == epochs
    assert deep.steps(25, round_) == 3 * epochs


def test_training_runs_in_training_mode_after_a_prediction_too() -> None:
    deep = fit(learner(NARROW))
    deep.predict(ALL)
    norm = next(module for module in deep.module.modules() if isinstance(module, nn.BatchNorm2d))
    seen = spied(deep, lambda: (deep.module.training, norm.training))
    fit(deep, round_=1)
    assert set(seen) == {(True, True)}
    seen.clear()
    deep.predict(ALL)
    assert set(seen) == {(False, False)}


def test_a_resumed_warm_run_continues_as_if_never_stopped(tmp_path: Path) -> None:
    straight = fit(learner(NARROW, LOSS, warm_start=True))
    straight.save(tmp_path / "weights.pt")
    resumed = learner(NARROW, LOSS, warm_start=True)
    resumed.load(tmp_path / "weights.pt")
    straight.predict(ALL)
    for deep in (straight, resumed):
        fit(deep, round_=1, seed=6, n=30)
    assert same(weights(straight), weights(resumed))


@pytest.mark.parametrize(
    ("detach", "expected"),
    [
        (0.6, [False, False, False, True, True]),
        (None, [False] * 5),
        (0.0, [True] * 5),
        (1.0, [False] * 5),
    ],
)
def test_the_ranking_loss_is_detached_from_a_part_of_the_epochs_on(detach: float | None, expected: list[bool]) -> None:
    deep = learner(NARROW, LOSS, epochs=5, detach=detach)
    seen = spied(deep, lambda: deep.module.detached)
    fit(deep, n=10)
    assert seen == expected


def test_detaching_changes_what_the_backbone_learns() -> None:
    joint, detached, none = (
        weights(fit(learner(NARROW, needs, detach=detach, batch_size=24)))
        for needs, detach in ((LOSS, None), (LOSS, 0.0), (frozenset(), None))
    )
    # The module's weights are drawn after the backbone's, so that detached equals trained without the module.
    assert all(torch.equal(detached[key], none[key]) for key in none)
    assert any(not torch.equal(joint[key], none[key]) for key in none)


def test_settings_reach_the_module_and_its_plan() -> None:
    deep = learner(NARROW, LOSS, ranking_weight=0.3, margin=0.7, fuse="concat", lr=2e-4, schedule="cosine")
    fit(deep)
    head = deep.module.loss_prediction
    assert head is not None
    assert (deep.module.ranking_weight, deep.module.margin, head.fuse) == (0.3, 0.7, "concat")
    assert (deep.module.plan.lr, deep.module.plan.schedule) == (2e-4, "cosine")
    assert deep.module.plan.class_weights_C is None


def test_the_recipe_reaches_the_plan_and_is_described() -> None:
    deep = learner(NARROW, LOSS, lr_warm_up=0.3, label_smoothing=0.2, augment=True, average_weights=0.5)
    fit(deep)
    assert (deep.module.plan.lr_warm_up, deep.module.plan.label_smoothing) == (0.3, 0.2)
    assert deep.datamodule.augment
    for words in ("flips and rotations", "label smoothing 0.2", "weights averaged with decay 0.5"):
        assert f"{words} (the paper has none)" in deep.describe()
    assert "the paper has none" not in learner(NARROW, LOSS).describe()


def test_averaged_weights_are_the_moving_average_over_the_steps() -> None:
    plain, averaged = learner(NARROW, LOSS), learner(NARROW, LOSS, average_weights=0.7)
    states = spied(plain, lambda: weights(plain))
    fit(plain)
    fit(averaged)
    assert len(states) == 6  # two epochs of 10, 10 and 5 pixels
    for name, value in weights(averaged).items():
        if value.is_floating_point():  # batch normalisation's statistics too
            mean = states[0][name]
            for state in states[1:]:
                mean = 0.7 * mean + 0.3 * state[name]
            assert torch.allclose(value, mean, atol=1e-6), name
    assert not same(weights(averaged), weights(plain))


def test_augmented_training_depends_on_its_generator_alone_and_differs() -> None:
    plain, first, again = (weights(fit(learner(augment=augment))) for augment in (False, True, True))
    assert same(first, again)
    assert not same(first, plain)


def test_balanced_class_weights_by_hand_and_in_the_plan() -> None:
    assert balanced_weights(np.array([0, 0, 0, 2]), 4).tolist() == pytest.approx([4 / 6, 0, 4 / 2, 0])
    assert balanced_weights(np.array([1, 0, 1, 0]), 2).tolist() == [1, 1]
    deep = learner(class_weights="balanced", epochs=1)
    deep.fit(ALL[:6], np.array([1, 1, 1, 1, 0, 0]), 0, np.random.default_rng(0))
    assert deep.module.plan.class_weights_C is not None
    assert deep.module.plan.class_weights_C.tolist() == pytest.approx([6 / 4, 6 / 8, 0])


def test_balanced_class_weights_are_scikit_learns() -> None:
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.random.default_rng(0).choice(5, 200, p=[0.5, 0.2, 0.2, 0.07, 0.03])
    expected = sklearn.compute_class_weight("balanced", classes=np.arange(5), y=labels)
    assert np.allclose(balanced_weights(labels, 5).numpy(), expected)


def test_twenty_patches_are_learnt_by_heart() -> None:
    pixel_ids, labels = labelled(20)
    deep = learner(NARROW, LOSS, epochs=60, stem="s1")
    deep.fit(pixel_ids, labels, 0, np.random.default_rng(0))
    assert deep.predict(pixel_ids).predicted_class.tolist() == labels.tolist()


def test_two_labels_suffice_and_one_does_not() -> None:
    fit(learner(NARROW, LOSS), n=2)
    with pytest.raises(PoolError, match="label at least two"):
        fit(learner(NARROW, LOSS), n=1)


def test_training_that_diverges_is_named() -> None:
    with pytest.raises(LearnerError, match=r"round 0 diverged.*protocol\.lr=1e\+30") as caught:
        fit(learner(NARROW, lr=1e30))
    assert "\n" not in str(caught.value)


# Prediction


@pytest.mark.parametrize("settings", [LENET, NARROW])
def test_predictions_follow_the_ids_asked_for(settings: DeepSettings) -> None:
    needs = EVERYTHING if settings is NARROW else EVERYTHING - LOSS
    deep = fit(learner(settings, needs, predict_batch_size=50))
    whole = deep.predict(ALL)
    assert whole.predicted_class.shape == (144,)
    assert whole.predicted_class.dtype == np.int64
    shapes = {"probabilities_NC": (144, CLASSES), "embeddings_ND": (144, 20 if settings is NARROW else 84)}
    for name, shape in (shapes | ({"predicted_loss_N": (144,)} if settings is NARROW else {})).items():
        values = getattr(whole, name)
        assert values.shape == shape
        assert values.dtype == np.float32
    assert whole.probabilities_NC is not None
    assert np.allclose(whole.probabilities_NC.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(whole.probabilities_NC.argmax(axis=1), whole.predicted_class)
    assert len(np.unique(whole.probabilities_NC, axis=0)) > 100

    chosen = np.array([143, 0, 77, 77, 5])
    some, expected = deep.predict(chosen), whole.at(chosen)
    assert np.array_equal(some.predicted_class, expected.predicted_class)
    for name in needs:
        assert np.allclose(getattr(some, name), getattr(expected, name), atol=1e-5)


def test_probabilities_are_those_of_the_patch_around_the_pixel() -> None:
    deep = fit(learner(needs=frozenset({"probabilities_NC"})))
    outputs = deep.predict(np.array([5 * SIDE + 7]))
    cube = scene().astype(np.float64)
    padded = np.pad((cube - cube.min()) / (cube.max() - cube.min()), ((8, 8), (8, 8), (0, 0)), mode="symmetric")
    patch = torch.from_numpy(padded[5:21, 7:23].transpose(2, 0, 1)[None].astype(np.float32))
    expected = deep.module.backbone.eval()(patch)[0].softmax(dim=1).detach().numpy()
    assert outputs.probabilities_NC is not None
    assert np.allclose(outputs.probabilities_NC, expected, atol=1e-5)


def test_only_what_is_needed_is_given() -> None:
    assert fit(learner()).predict(ALL[:3]).probabilities_NC is None
    outputs = fit(learner(NARROW, LOSS)).predict(ALL[:3])
    assert outputs.predicted_loss_N is not None
    assert outputs.probabilities_NC is None
    assert outputs.embeddings_ND is None
    assert learner(NARROW).module.loss_prediction is None


def test_no_pixels_give_no_predictions() -> None:
    outputs = fit(learner()).predict(np.empty(0, np.int64))
    assert outputs.predicted_class.shape == (0,)
    assert outputs.predicted_class.dtype == np.int64


def test_predicting_changes_nothing() -> None:
    deep = fit(learner(NARROW, EVERYTHING, dropout=0.5))
    before, first = weights(deep), deep.predict(ALL)
    second = deep.predict(ALL)
    assert same(weights(deep), before)
    assert np.array_equal(first.predicted_loss_N, second.predicted_loss_N)  # type: ignore[arg-type]
    assert np.array_equal(first.probabilities_NC, second.probabilities_NC)  # type: ignore[arg-type]


def test_limits_of_another_cube_scale_the_patches() -> None:
    deep = DeepLearner(scene(), CLASSES, ALL, LENET, limits=(0.0, 2.0))
    patches = deep.datamodule.gatherer(torch.tensor([30]))
    assert patches[0, :, 8, 8].numpy() == pytest.approx(scene().reshape(-1, BANDS)[30] / 2)


@pytest.mark.parametrize("settings", [LENET, NARROW])
def test_the_memory_format_does_not_change_the_predictions(settings: DeepSettings, tmp_path: Path) -> None:
    needs = frozenset({"probabilities_NC"})
    fit(learner(settings, needs, channels_last=True)).save(tmp_path / "weights.pt")
    given = []
    for channels_last in (True, False):
        deep = learner(settings, needs, channels_last=channels_last)
        deep.load(tmp_path / "weights.pt")
        given.append(deep.predict(ALL).probabilities_NC)
    assert np.allclose(given[0], given[1], atol=1e-5)  # type: ignore[arg-type]


# What a learner can give


def test_what_each_backbone_provides() -> None:
    assert learner().provides == {"probabilities_NC", "embeddings_ND", "mc_probabilities_NKC"}
    assert learner(NARROW).provides == EVERYTHING | DRAWS


def test_lenet_can_not_predict_losses() -> None:
    with pytest.raises(LearnerError, match="lenet can't give predicted_loss_N") as caught:
        learner(needs=LOSS)
    message = str(caught.value)
    assert "such as a DenseNet or small" in message
    assert "entropy" in message
    assert "\n" not in message


def test_unknown_needs_are_named() -> None:
    with pytest.raises(LearnerError, match="can't give gradients_ND"):
        learner(NARROW, frozenset({"gradients_ND", "probabilities_NC"}))


# Dropout draws


@pytest.mark.parametrize("settings", [LENET, NARROW])
def test_draws_are_the_network_under_fixed_masks(settings: DeepSettings) -> None:
    """By hand from the embeddings: the same masks for every pixel, scaled as in training."""
    deep = fit(learner(settings, DRAWS | {"embeddings_ND", "probabilities_NC"}, draws=5, dropout=0.25))
    outputs = deep.predict(ALL[:30])
    assert outputs.embeddings_ND is not None and outputs.probabilities_NC is not None
    masks, layer = deep.module.masks_KD.numpy(), deep.module.backbone.classifier
    assert np.unique(masks) == pytest.approx([0, 4 / 3])
    assert 0.6 < (masks > 0).mean() < 0.9
    assert len({row.tobytes() for row in masks}) == 5
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    logits = np.stack([(outputs.embeddings_ND * mask) @ weight.T + bias for mask in masks], axis=1)
    assert outputs.mc_probabilities_NKC == pytest.approx(scipy.special.softmax(logits, axis=2), abs=1e-5)
    plain = scipy.special.softmax(outputs.embeddings_ND @ weight.T + bias, axis=1)
    assert outputs.probabilities_NC == pytest.approx(plain, abs=1e-5)  # without dropout


def test_masks_come_from_the_rounds_generator() -> None:
    same_seed, again, other = (fit(learner(needs=DRAWS, draws=3), seed=seed).module.masks_KD for seed in (3, 3, 4))
    assert torch.equal(same_seed, again)
    assert not torch.equal(same_seed, other)
    later = learner(needs=DRAWS, draws=3)
    fit(later, seed=9)
    assert torch.equal(fit(later, round_=1, seed=3).module.masks_KD, same_seed)  # whatever came before


def test_drawing_masks_leaves_the_training_as_it_was() -> None:
    without, draws = fit(learner(dropout=0.5)), fit(learner(needs=DRAWS))
    assert same(weights(without), weights(draws))


def test_masks_are_no_weights(tmp_path: Path) -> None:
    deep = fit(learner(needs=DRAWS))
    deep.save(tmp_path / "weights.pt")
    assert not any("mask" in name for name in read_weights(tmp_path / "weights.pt")["weights"])
    other = learner(dropout=0.5)
    other.load(tmp_path / "weights.pt")
    assert (other.predict(ALL).predicted_class == deep.predict(ALL).predicted_class).all()
    resumed = learner(needs=DRAWS)
    resumed.load(tmp_path / "weights.pt")
    assert (resumed.predict(ALL).predicted_class == deep.predict(ALL).predicted_class).all()


@pytest.mark.parametrize(("dropout", "expected"), [(0.0, 0.5), (0.2, 0.2)])
def test_dropout_is_switched_on_for_draws_and_said(dropout: float, expected: float) -> None:
    deep = learner(needs=DRAWS, draws=7, dropout=dropout)
    assert deep.module.backbone.dropout.p == expected
    assert f"dropout {expected} for 7 draws (the paper has none)" in deep.describe()
    assert learner(dropout=0.0).module.backbone.dropout.p == 0.0
    assert len(learner().module.masks_KD) == 0


def test_draws_can_be_timed_before_any_fit() -> None:
    estimate = learner(needs=DRAWS).estimate(*labelled(), sizes=[(0, 25)], n_predicted=10, n_mapped=0)
    assert estimate.total_seconds > 0


def test_description_tells_size_and_deviations() -> None:
    # 150 b + 6 + 16 * 151 + (16 + 1) * 120 + 121 * 84 + 85 C for patches of 16.
    size = 150 * BANDS + 6 + 2416 + 17 * 120 + 121 * 84 + 85 * CLASSES
    assert learner().describe() == f"lenet, {size:,} parameters"
    text = learner(NARROW, LOSS, dropout=0.5, class_weights="balanced").describe()
    # Hidden 128 on 8, 12, 16 and 20 channels.
    assert f"loss prediction module (sum) {128 * 56 + 4 * 128 + 129:,}" in text
    assert "dropout 0.5 (the paper has none)" in text
    assert "class weights balanced (the paper has none)" in text


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is an accelerator")
@pytest.mark.parametrize("accelerator", ["gpu", "abacus"])
def test_a_machine_without_the_accelerator_says_so(accelerator: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"trainer\.accelerator={accelerator} .*can't be used") as caught:
        learner(accelerator=accelerator)
    assert "\n" not in str(caught.value)


def test_an_unknown_precision_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"trainer\.precision=31"):
        learner(precision="31")


# Saving


def test_saved_weights_give_the_same_predictions(tmp_path: Path) -> None:
    deep = fit(learner(NARROW, EVERYTHING))
    deep.save(tmp_path / "weights.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]
    other = learner(NARROW, EVERYTHING)
    assert not same(weights(other), weights(deep))
    other.load(tmp_path / "weights.pt")
    assert same(weights(other), weights(deep))
    first, second = deep.predict(ALL), other.predict(ALL)
    for name in ("predicted_class", *EVERYTHING):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    saved = read_weights(tmp_path / "weights.pt")
    assert saved["limits"].tolist() == [float(scene().min()), float(scene().max())]
    assert not any("padded" in key for key in saved["weights"])


def damaged(path: Path, kind: str) -> None:
    fit(learner()).save(path)
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "halved":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "scratched":
        position = content.index(b"weights")
        path.write_bytes(content[:position] + b"\xff" * 40 + content[position + 40 :])
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"weights": Path("/")}))
    elif kind == "other classes":
        DeepLearner(scene(), CLASSES + 1, ALL, LENET).save(path)
    elif kind == "other network":
        learner(NARROW).save(path)
    elif kind == "tensor":
        torch.save(torch.zeros(3), path)
    elif kind == "other file":
        torch.save({"limits": torch.zeros(2)}, path)
    else:
        path.write_bytes({"empty": b"", "text": b"round,n_labelled\n0,160\n"}[kind])


@pytest.mark.parametrize(
    "kind",
    [
        *("missing", "empty", "text", "halved", "scratched", "pickle"),
        *("other classes", "other network", "tensor", "other file"),
    ],
)
def test_weights_that_can_not_be_loaded(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    damaged(path, kind)
    with pytest.raises(
        RunDirectoryError, match=r"weights\.pt .*; (restore it from a copy, or )?delete the run directory"
    ) as caught:
        learner().load(path)
    assert "\n" not in str(caught.value)


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_loading_runs_no_code(tmp_path: Path) -> None:
    torch.save({"weights": Touch(tmp_path / "touched")}, tmp_path / "weights.pt")
    with pytest.raises(RunDirectoryError):
        learner().load(tmp_path / "weights.pt")
    assert not (tmp_path / "touched").exists()


# The estimate


def test_the_batch_size_is_measured_on_the_device_wherever_the_weights_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's device meta stands for a GPU here: it holds no numbers, and computes with no tensor of another device."""

    def measured(score: Callable[[int], None], device: torch.device) -> int:
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # all is computed by then
            score(3)
        return 64

    monkeypatch.setattr("hsi_al.methods.deep.learner.measured_size", measured)
    fitted, loaded = fit(learner(LENET, DRAWS)), learner(LENET, DRAWS)
    fitted.save(tmp_path / "weights.pt")
    loaded.load(tmp_path / "weights.pt")
    for deep in (fitted, loaded):  # no estimate has moved them
        deep.device, deep.knows_batch_size = torch.device("meta"), False
        deep._choose_batch_size()
        assert deep.datamodule.predict_batch_size == 64


def test_the_optimiser_leaves_no_state_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[torch.optim.Optimizer] = []
    real = ActiveClassifier.configure_optimizers

    def configured(module: ActiveClassifier) -> Any:
        found: Any = real(module)
        kept.append(found["optimizer"] if isinstance(found, dict) else found)
        return found

    monkeypatch.setattr(ActiveClassifier, "configure_optimizers", configured)
    fit(learner())
    assert [len(optimizer.state) for optimizer in kept] == [0]


@pytest.mark.parametrize(
    ("warm_start", "steps"),
    # Batches of 20, 25 and 31 pixels: 2, 3 and 3, since a last batch of one is skipped; 5 epochs, warm ones 2.
    [(True, [5 * 2, 2 * 3, 2 * 3]), (False, [5 * 2, 5 * 3, 5 * 3])],
)
def test_estimate_counts_steps_and_changes_nothing(warm_start: bool, steps: list[int]) -> None:
    deep = fit(learner(NARROW, LOSS, epochs=5, warm_epochs=2, warm_start=warm_start), n=10)
    before = weights(deep)
    sizes = [(0, 20), (1, 25), (2, 31)]
    estimate = deep.estimate(*labelled(20), sizes, n_predicted=1100, n_mapped=700)
    assert same(weights(deep), before)
    assert [deep.steps(n, round_) for round_, n in sizes] == steps
    assert f"{sum(steps)} training steps of batch 10 and 4,000 patches to score" in estimate.work
    seconds = estimate.fit_seconds
    assert seconds == pytest.approx([seconds[0] * count / steps[0] for count in steps])
    assert all(second > 0 for second in seconds)
    assert estimate.map_seconds == pytest.approx(estimate.predict_seconds * 7 / 11)
    assert estimate.predict_seconds > 0
    total = sum(seconds) + 3 * estimate.predict_seconds + estimate.map_seconds
    assert estimate.total_seconds == pytest.approx(total)


def test_estimate_before_the_first_fit_leaves_the_first_fit_alone() -> None:
    measured = learner(NARROW, LOSS)
    measured.estimate(*labelled(4), [(0, 4)], 10, 0)
    assert same(weights(fit(measured)), weights(fit(learner(NARROW, LOSS))))


def test_estimate_of_a_finished_run_is_about_the_map() -> None:
    estimate = learner().estimate(*labelled(20), [], n_predicted=100, n_mapped=50)
    assert estimate.fit_seconds == []
    assert estimate.total_seconds == estimate.map_seconds > 0
    assert "0 training steps" in estimate.work
    assert "50 patches" in estimate.work


def test_estimate_scores_as_many_at_once_as_the_run_does(monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[int] = []
    deep = learner(predict_batch_size=7)
    monkeypatch.setattr(deep, "_score_some", scored.append)
    deep.estimate(*labelled(4), [(0, 4)], 10, 0)
    assert set(scored) == {7}


@pytest.mark.parametrize(
    ("stem", "patch_size", "size"),
    [("s1", 8, 256), ("s1", 9, 202), ("s2", 17, 202), ("s2_pool", 17, 256), ("s1_pool", 15, 256)],
)
def test_large_maps_are_scored_few_at_once(stem: str, patch_size: int, size: int) -> None:
    # 202 maps of 9 x 9 pixels are 16,362, a map fewer than 2^14 pixels hold.
    assert learner(backbone="resnet18", stem=stem, patch_size=patch_size).datamodule.predict_batch_size == size


def test_a_chosen_number_of_pixels_is_scored_at_once() -> None:
    assert learner(backbone="resnet18", stem="s1", predict_batch_size=7).datamodule.predict_batch_size == 7
    assert learner().predict_batch_size == 256  # LeNet has no stem


# Progress and interruption


def test_progress_goes_from_0_to_1() -> None:
    told: list[tuple[str, float]] = []
    deep = learner(predict_batch_size=50)
    deep.progress = lambda text, part: told.append((text, part))
    fit(deep)
    assert [part for _, part in told] == pytest.approx([step / 6 for step in range(1, 7)])
    assert told[-1][1] == 1.0
    told.clear()
    deep.predict(ALL)
    assert [part for _, part in told] == pytest.approx([1 / 3, 2 / 3, 1])
    assert told[-1] == ("scoring", 1.0)


def interrupt(text: str, part: float) -> None:
    raise KeyboardInterrupt


def test_an_interruption_is_a_keyboard_interrupt_and_the_next_one_too() -> None:
    deep = fit(learner())
    handler = signal.getsignal(signal.SIGINT)
    for work in (lambda: fit(deep, round_=1), lambda: deep.predict(ALL), lambda: fit(deep, round_=1)):
        deep.progress = interrupt
        with pytest.raises(KeyboardInterrupt):
            work()
        assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("during", ["fit", "predict"])
def test_after_an_interruption_training_goes_on_as_ever(during: str) -> None:
    deep = fit(learner(NARROW, LOSS, dropout=0.5))
    deep.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        _ = fit(deep, round_=1) if during == "fit" else deep.predict(ALL)
    deep.progress = None
    assert same(weights(fit(deep)), weights(fit(learner(NARROW, LOSS, dropout=0.5))))


def test_another_exit_stays_an_exit() -> None:
    deep = learner()

    def leave(text: str, part: float) -> None:
        raise SystemExit(3)

    deep.progress = leave
    with pytest.raises(SystemExit) as caught:
        fit(deep)
    assert caught.value.code == 3


def test_errors_of_the_progress_display_are_not_swallowed() -> None:
    deep = learner()

    def fail(text: str, part: float) -> None:
        raise ZeroDivisionError

    deep.progress = fail
    with pytest.raises(ZeroDivisionError):
        fit(deep)


def test_lightning_is_quiet_and_loud_again_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with pytest.raises(ValueError, match="inside"), quiet_lightning():
        assert {logger.level for logger in loggers} == {logging.ERROR}
        raise ValueError("inside")
    assert [logger.level for logger in loggers] == levels
    fit(learner()).predict(ALL)
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""


# What it is for


def test_predicted_loss_finds_the_pixels_with_noise_for_labels() -> None:
    """Two clean classes; in a quarter of the scene the spectra are noise and the labels drawn at random."""
    side, rng = 24, np.random.default_rng(0)
    noisy = np.zeros((side, side), bool)
    noisy[:12, :12] = True
    classes = (np.arange(side)[None, :] >= 12).astype(np.int64) * np.ones((side, 1), np.int64)
    cube = np.where(classes[..., None] == 1, [0.2, 0.8, 0.5, 0.5], [0.8, 0.2, 0.5, 0.5])
    cube += 0.02 * rng.normal(size=cube.shape)
    cube[noisy] = rng.random((144, BANDS))
    classes[noisy] = rng.integers(0, 4, 144)
    everyone = np.arange(side * side)
    chosen = rng.choice(everyone, 160, replace=False)
    deep = DeepLearner(cube, 4, everyone, NARROW.having(epochs=12), LOSS)
    deep.fit(chosen, classes.ravel()[chosen], 0, np.random.default_rng(0))
    rest = np.setdiff1d(everyone, chosen)
    predicted_loss = deep.predict(rest).predicted_loss_N
    assert predicted_loss is not None
    queried = rest[np.argsort(-predicted_loss, kind="stable")[:40]]
    assert noisy.ravel()[queried].mean() >= 0.6  # at random 0.25


@pytest.mark.parametrize("field", ["predicted_class", "predicted_loss_N"])
def test_outputs_that_are_no_numbers_are_never_taken_for_a_class(field: str) -> None:
    deep = fit(learner(NARROW, LOSS))
    part = deep.module.backbone.classifier if field == "predicted_class" else deep.module.loss_prediction
    assert part is not None
    with torch.no_grad():
        next(part.parameters()).fill_(torch.nan)
    with pytest.raises(LearnerError, match=r"outputs of the network are NaN or infinite; lower protocol\.lr=0\.001"):
        deep.predict(ALL)


def test_running_statistics_that_overflow_are_divergence_too() -> None:
    deep = learner(NARROW)
    deep.module.backbone.stem[1].running_var.fill_(torch.inf)  # type: ignore[index,union-attr]
    with pytest.raises(LearnerError, match="round 2 diverged"):
        deep._check_weights(2)


def test_a_cube_that_is_no_cube_of_numbers_is_not_blamed_on_the_training() -> None:
    deep = fit(learner(NARROW))
    deep.datamodule.gatherer.padded[:] = torch.inf
    with pytest.raises(LearnerError, match="cube's values, scaled by") as caught:
        deep.predict(ALL)
    assert "protocol.lr" not in str(caught.value) and "diverged" not in str(deep._not_finite("It diverged"))


def test_networks_whose_learning_rate_is_fixed_do_not_ask_to_lower_it() -> None:
    deep = fit(learner(replace(NARROW, lr_is_free=False)))
    assert "protocol.lr" not in str(deep._not_finite("Diverged"))


def test_a_single_label_is_refused_before_anything_is_measured() -> None:
    deep = learner(NARROW)
    with pytest.raises(PoolError, match="label at least two"):
        deep.estimate(ALL[:1], np.zeros(1, np.int64), [(0, 1)], 10, 0)


def test_draws_that_outgrow_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.methods.deep.learner.MOST_DRAWN_BYTES", 4 * CLASSES * SIDE**2 * 7 + 1)
    assert learner(needs=DRAWS, draws=7).draws == 7
    with pytest.raises(ConfigurationError, match=r"acquisition\.draws=8 takes .* take 7 at most"):
        learner(needs=DRAWS, draws=8)
    assert learner(draws=8).draws == 0

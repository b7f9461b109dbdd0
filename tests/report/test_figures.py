"""Figures say what the files say, and nothing in them overlaps."""

import json
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from hsi_al.errors import RunDirectoryError
from hsi_al.interrupts import Interrupted
from hsi_al.report.canvas import DPI, MOST_PIXELS, name_of, save
from hsi_al.report.figures import (
    _pool,
    confusion_figure,
    draw,
    learning_curve_figure,
)
from hsi_al.report.maps import (
    distance,
    draw_map,
    map_figure,
    maps_figure,
    query_figure,
    round_colours,
    round_length,
)
from hsi_al.report.palette import BACKGROUND, PALETTE, UNUSED, rgb_of
from hsi_al.report.run_files import Confusions, Meta, Pool, read_confusions, read_meta, read_predictions
from hsi_al.report.tables import read_curve
from hsi_al.scenes.georeference import Georeference
from tests.report.fakes import write_h5, write_run

ALL = ["confusion.png", "learning_curve.png", "map.png", "query_map.png"]
SIXTEEN = {value: f"A-rather-long-class-name-{value}" for value in range(1, 17)}


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:])
    return width, height


def legend_texts(figure: Figure) -> list[str]:
    legend = figure.legends[0] if figure.legends else figure.axes[0].get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classes": 16, "rounds": 32, "shape": (61, 34)},
        {"classes": 2, "rounds": 0},
        {"rounds": 1, "heldout": False, "shape": (12, 40)},
        {"ground_truth": False},
    ],
)
def test_draw_writes_every_figure(tmp_path: Path, options: dict[str, int]) -> None:
    paths = draw(write_run(tmp_path, **options))  # type: ignore[arg-type]
    assert sorted(path.name for path in paths) == ALL
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ALL, "nothing temporary stays"
    for path in paths:
        assert all(400 < side < 2500 for side in png_size(path)), path


def test_without_predictions_there_are_no_maps(tmp_path: Path) -> None:
    names = [path.name for path in draw(write_run(tmp_path, predictions=False))]
    assert names == ["learning_curve.png", "confusion.png"]


def test_learning_curve_shows_percent_against_labels(tmp_path: Path) -> None:
    (axes,) = learning_curve_figure(read_curve(write_run(tmp_path)), "a title").axes
    lines = {str(line.get_label()): line for line in axes.lines}
    assert list(lines) == ["OA", "AA", "kappa", "OA held-out"]
    assert np.asarray(lines["OA"].get_xdata()).tolist() == [4, 7, 10]
    assert np.asarray(lines["OA"].get_ydata()) == pytest.approx([60, 70, 80])
    assert np.asarray(lines["OA held-out"].get_ydata()) == pytest.approx([58, 68, 78])
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", "-", "--"]
    assert len({line.get_marker() for line in axes.lines}) == 4
    assert axes.get_ylim() == (45, 85)
    assert axes.get_xticks().tolist() == [4, 7, 10]


def test_learning_curve_leaves_out_what_has_no_value(tmp_path: Path) -> None:
    rows = read_curve(write_run(tmp_path, rounds=0, heldout=False))
    assert legend_texts(learning_curve_figure(rows, "")) == ["OA", "AA", "kappa"]


def test_perfect_accuracy_stays_inside(tmp_path: Path) -> None:
    rows = read_curve(write_run(tmp_path, rounds=4))
    (axes,) = learning_curve_figure(rows, "").axes
    assert axes.get_ylim()[1] == 101


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = np.array([[0, 3, 3], [7, 9, 0]])
    return np.array([[3, 3, 7], [7, 7, 0]]), truth, np.zeros((2, 3, 3), np.uint8)


def test_map_panels_show_the_palette() -> None:
    class_map, truth, rgb = maps()
    figure = map_figure(class_map, truth, rgb, {7: "soil", 3: "water"}, "a title")
    assert [axes.get_title() for axes in figure.axes] == ["false colour", "ground truth", "classification map"]
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    water, soil = rgb_of(PALETTE[0]), rgb_of(PALETTE[1])
    assert shown[1].tolist() == [[[*BACKGROUND], [*water], [*water]], [[*soil], [*UNUSED], [*BACKGROUND]]]
    assert shown[2].tolist() == [[[*water], [*water], [*soil]], [[*soil], [*soil], [*BACKGROUND]]]
    assert legend_texts(figure) == ["water", "soil", "other classes, not used", "no label"]
    patches = figure.legends[0].get_patches()
    assert [to_hex(patch.get_facecolor()).upper() for patch in patches[:2]] == list(PALETTE[:2])


def test_names_of_a_strangers_file_are_drawn_as_escapes() -> None:
    assert name_of(3, {3: "\x1b[31m$red$\nline"}) == r"\x1b[31m\$red\$\nline"
    assert name_of(4, {3: "red"}) == "class 4"


def test_map_without_ground_truth(tmp_path: Path) -> None:
    _, _, rgb = maps()
    figure = map_figure(np.full((2, 3), 3), None, rgb, {3: "water"}, "")
    assert [axes.get_title() for axes in figure.axes] == ["false colour", "classification map"]
    assert legend_texts(figure) == ["water"]
    path = draw_map(np.full((2, 3), 3), None, rgb, {3: "water"}, "costs 5$ or 6$", tmp_path / "new" / "map.png")
    assert png_size(path)[0] > 400


@pytest.mark.parametrize("shape", [(40, 40), (140, 80), (30, 200)])
@pytest.mark.parametrize("turned", [0.0, 30.0, -100.0, 180.0])
def test_the_arrow_to_the_north_keeps_its_angle(shape: tuple[int, int], turned: float) -> None:
    """On a grid that is turned clockwise, north lies as far counter-clockwise of the top, whatever the shape."""
    angle = np.deg2rad(turned)
    transform = (2 * np.cos(angle), -2 * np.sin(angle), 5e5, -2 * np.sin(angle), -2 * np.cos(angle), 5e6)
    labels = np.ones(shape, int)
    where = Georeference("", tuple(float(value) for value in transform))  # type: ignore[arg-type]
    figure = map_figure(labels, None, np.zeros((*shape, 3), np.uint8), {1: "a"}, "", None, where, shape)
    figure.draw_without_rendering()
    arrow = next(text for text in figure.axes[0].texts if isinstance(text, Annotation))
    assert arrow.arrow_patch is not None
    pixels = figure.axes[0].transAxes.transform([arrow.xyann, arrow.xy])
    right, up = pixels[1] - pixels[0]
    found = np.rad2deg(np.arctan2(-right, up))
    assert abs((found - turned + 180) % 360 - 180) < 0.5


@pytest.mark.parametrize("shape", [(145, 145), (512, 217), (610, 340), (349, 1905), (300, 12), (5, 5)])
@pytest.mark.parametrize("names", [SIXTEEN, {1: "a", 2: "b"}])
def test_nothing_in_a_map_overlaps(shape: tuple[int, int], names: dict[int, str]) -> None:
    labels = np.resize(np.arange(17), shape)
    title = "some_scene, densenet121, loss_prediction, protocol paper, split holdout, seed 0"
    figure = map_figure(labels, labels, np.zeros((*shape, 3), np.uint8), names, title)
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [figure.legends[0].get_window_extent(), figure.texts[0].get_window_extent()]
    assert_apart([box for box in boxes if box is not None], figure)
    for axes in figure.axes:
        assert axes.get_aspect() == 1.0


def assert_apart(boxes: list[Bbox], figure: Figure) -> None:
    assert len(boxes) >= 3
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1


def pool_of(labelled_at: list[int]) -> Pool:
    return Pool(pixel_id=np.arange(len(labelled_at)) * 7, labelled_at=np.array(labelled_at))


def test_query_map_places_and_colours_the_dots() -> None:
    figure = query_figure(pool_of([0, -1, 2, 1, 0]), np.zeros((4, 10, 3), np.uint8), "")
    initial, queried = figure.axes[0].collections
    assert np.asarray(initial.get_offsets()).tolist() == [[0, 0], [8, 2]]
    assert np.asarray(queried.get_offsets()).tolist() == [[4, 1], [1, 2]]
    faces = np.asarray(queried.get_facecolor())
    assert faces == pytest.approx(round_colours(2).to_rgba(np.array([2, 1])))
    assert faces[0].sum() > faces[1].sum(), "later rounds are lighter"
    assert figure.axes[1].get_ylabel() == "round"
    assert legend_texts(figure) == ["initial labels (2)", "queried in rounds 1-2 (2), coloured by round"]


def test_query_map_without_queries() -> None:
    figure = query_figure(pool_of([0, -1, 0]), np.zeros((4, 10, 3), np.uint8), "")
    assert len(figure.axes) == 1
    assert len(figure.axes[0].collections) == 1
    assert legend_texts(figure) == ["initial labels (2)"]


@pytest.mark.parametrize(("rounds", "ticks"), [(1, [1]), (10, [*range(1, 11)]), (32, [*range(4, 33, 4)])])
def test_round_bar_has_whole_rounds(rounds: int, ticks: list[int]) -> None:
    figure = query_figure(pool_of(list(range(rounds + 1))), np.zeros((40, 20, 3), np.uint8), "a title")
    assert figure.axes[1].get_yticks().tolist() == ticks
    assert len(np.unique(round_colours(rounds).to_rgba(np.arange(1, rounds + 1)), axis=0)) == rounds
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [figure.legends[0].get_window_extent(), figure.texts[0].get_window_extent()]
    assert_apart([box for box in boxes if box is not None], figure)


def test_confusion_shows_the_last_round_by_row() -> None:
    last = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 999]])
    both = np.stack([np.zeros((3, 3), int), last])
    confusions = Confusions(all=both, heldout=np.zeros_like(both), label_values=np.array([1, 4, 6]))
    figure = confusion_figure(confusions, Meta("a title", {1: "corn", 4: "hay", 6: "wood"}))
    (axes,) = figure.axes
    assert np.asarray(axes.images[0].get_array())[0] == pytest.approx([0.75, 0.25, 0])
    cells = {text.get_position(): text.get_text() for text in axes.texts if text.get_position()[0] <= 2}
    assert cells == {(0, 0): "75", (1, 0): "25", (0, 2): "<1", (2, 2): "100"}
    recalls = [text.get_text() for text in axes.texts if text.get_position()[0] > 2]
    assert recalls == ["recall %", "75.0", "-", "99.9"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["corn (4)", "hay (0)", "wood (1000)"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["corn", "hay", "wood"]
    title = figure.get_suptitle().replace("\n", " ")
    assert title == "a title all pixels with ground truth, round 1, % of the true class"


def test_confusion_prefers_held_out_pixels(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path)
    confusions = read_confusions(run_dir)
    figure = confusion_figure(confusions, read_meta(run_dir))
    assert "held-out pixels, round 2" in figure.get_suptitle()
    heldout = confusions.heldout[-1]
    expected = heldout / heldout.sum(axis=1, keepdims=True)
    assert np.asarray(figure.axes[0].images[0].get_array()) == pytest.approx(expected)


def confusion_of(classes: int, name: str = "class {}") -> Figure:
    counts = np.zeros((1, classes, classes), int)
    counts[0, np.arange(classes), np.arange(classes)] = 3
    counts[0, np.arange(classes), np.arange(1, classes + 1) % classes] = 1
    names = {value: name.replace("{}", str(value)) for value in range(classes)}
    return confusion_figure(Confusions(counts, counts, np.arange(classes)), Meta("a title", names))


@pytest.mark.parametrize(("classes", "numbers", "named"), [(30, 60, 30), (31, 0, 31), (61, 0, 31), (200, 0, 50)])
def test_confusion_of_many_classes_is_an_image(classes: int, numbers: int, named: int) -> None:
    (axes,) = confusion_of(classes).axes
    inside = [text for text in axes.texts if text.get_position()[0] < classes - 0.5]
    assert len(inside) == numbers
    assert len(axes.get_yticklabels()) == len(axes.get_xticklabels()) == named
    assert len(axes.texts) == numbers + named + 1  # recalls and their heading
    step = -(-classes // named)
    assert axes.get_yticklabels()[1].get_text() == f"class {step} (4)"
    assert axes.get_yticks()[1] == step
    assert np.asarray(axes.images[0].get_array())[1, 1:3].tolist() == [0.75, 0.25]
    title = axes.figure.get_suptitle()
    assert (f"{classes} classes, of which 1 in {step} is named" in title) == (step > 1)


def test_cells_of_a_thousand_classes_are_merged() -> None:
    (axes,) = confusion_of(1500).axes
    (image,) = axes.images
    assert np.asarray(image.get_array()).shape == (750, 750)
    assert np.asarray(image.get_array())[0, :2].tolist() == [7 / 8, 1 / 8]  # of two classes, one error stays inside
    assert list(image.get_extent()) == [-0.5, 1499.5, 1499.5, -0.5]


LONG = "{} Long names of classes are cut in the middle, since endings tell them apart too " + "x" * 5000 + " {}"


@pytest.mark.parametrize("classes", [2, 16, 60, 500])
@pytest.mark.parametrize("name", ["class {}", LONG])
def test_no_figure_is_larger_than_a_page(classes: int, name: str) -> None:
    names = {value: name.replace("{}", str(value)) for value in range(1, classes + 1)}
    labels = np.resize(np.arange(classes + 1), (40, 40))
    rgb = np.zeros((40, 40, 3), np.uint8)
    title = f"{name}, net, random, protocol paper, split paper, seed 0"
    figures = [
        confusion_of(classes, name),
        map_figure(labels, labels, rgb, names, title),
        maps_figure({"one": labels, "two": labels}, names, title),
        query_figure(pool_of(list(range(200))), np.zeros((100, 100, 3), np.uint8), title),
    ]
    for figure in figures:
        assert figure.get_size_inches().max() * DPI < MOST_PIXELS
        texts = [text.get_text() for text in figure.findobj(Text)]
        assert max(len(line) for text in texts for line in text.splitlines()) < 300
        assert max(text.count("\n") for text in texts) <= 6
    assert "seed 0" in figures[1].get_suptitle()


def test_the_resolution_of_a_huge_figure_is_lower(tmp_path: Path) -> None:
    width, height = png_size(save(Figure(figsize=(2000, 1)), tmp_path / "wide.png"))
    assert width < MOST_PIXELS + 100 and height < 100


def test_a_legend_lists_the_largest_of_many_classes() -> None:
    labels = np.repeat(np.arange(1, 101), np.arange(1, 101))[None]  # class n has n pixels
    texts = legend_texts(
        map_figure(labels, None, np.zeros((*labels.shape, 3), np.uint8), dict.fromkeys(range(1, 101), "a"), "")
    )
    assert len(texts) == 61 and texts[-1] == "and 40 smaller"
    names = {value: f"class {value}" for value in range(1, 101)}
    texts = legend_texts(map_figure(labels, None, np.zeros((*labels.shape, 3), np.uint8), names, ""))
    assert texts == [*(f"class {value}" for value in range(41, 101)), "and 40 smaller"]


def test_a_picture_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 7.0 GiB")

    def interrupted(*_: object) -> None:
        raise Interrupted(15)

    write_run(tmp_path)
    monkeypatch.setattr("hsi_al.report.figures.confusion_figure", fail)
    said: list[str] = []
    drawn = draw(tmp_path, warn=said.append)
    assert [path.name for path in drawn] == ["learning_curve.png", "map.png", "query_map.png"]
    (sentence,) = said
    assert (
        sentence == f"{tmp_path / 'figures' / 'confusion.png'} is left out (MemoryError: Unable to allocate 7.0 GiB)."
    )
    with pytest.raises(MemoryError):
        draw(tmp_path)
    monkeypatch.setattr("hsi_al.report.figures.confusion_figure", interrupted)
    with pytest.raises(Interrupted):
        draw(tmp_path, warn=said.append)


def test_an_empty_ground_truth_is_none(tmp_path: Path) -> None:
    rgb = np.zeros((2, 3, 3), np.uint8)
    write_h5(tmp_path / "predictions.h5", class_map=np.ones((2, 3)), rgb=rgb, ground_truth=np.zeros((2, 3)))
    predictions = read_predictions(tmp_path)
    assert predictions is not None
    assert predictions.ground_truth is None


def break_meta(run_dir: Path) -> None:
    (run_dir / "meta.json").write_text(json.dumps({"title": "no names"}))


def break_confusion(run_dir: Path) -> None:
    write_h5(run_dir / "confusion.h5", all=np.ones((1, 2, 3)), heldout=np.ones((1, 2, 2)), label_values=np.arange(2))


def break_pool(run_dir: Path) -> None:
    write_h5(run_dir / "pool.h5", pixel_id=np.array([24 * 20]), labelled_at=np.array([0]))


def break_predictions(run_dir: Path) -> None:
    write_h5(run_dir / "predictions.h5", class_map=np.ones((2, 3)), rgb=np.zeros((3, 2, 3), np.uint8))


def truncate_pool(run_dir: Path) -> None:
    (run_dir / "pool.h5").write_bytes(b"not HDF5")


def lose_a_dataset(run_dir: Path) -> None:
    write_h5(run_dir / "pool.h5", pixel_id=np.array([1]))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (break_meta, r"meta\.json is missing or corrupted \(no entry class_names\)"),
        (break_confusion, r"confusion\.h5 is missing or corrupted \(all has shape \(1, 2, 3\)"),
        (break_pool, r"pool\.h5 names pixels outside the 480"),
        (break_predictions, r"predictions\.h5 is missing or corrupted \(rgb"),
        (truncate_pool, r"pool\.h5 is missing or corrupted"),
        (lose_a_dataset, r"pool\.h5 is missing or corrupted .*labelled_at"),
        (lambda run_dir: (run_dir / "confusion.h5").unlink(), r"confusion\.h5 is missing or corrupted"),
        (
            lambda run_dir: (run_dir / "meta.json").unlink(),
            r"meta\.json is missing or corrupted \(there is no",
        ),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, damage, complaint: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    damage(write_run(tmp_path))
    with pytest.raises(RunDirectoryError, match=complaint):
        draw(tmp_path)
    assert not (tmp_path / "figures").exists(), "nothing is drawn from a damaged run"


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map.png"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save(Figure(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_of_a_huge_scene_are_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_map = np.arange(1, 36, dtype=np.uint16).reshape(5, 7)
    rgb = np.repeat(class_map[:, :, None], 3, axis=2).astype(np.uint8)
    with h5py.File(tmp_path / "predictions.h5", "w") as file:
        file["class_map"], file["rgb"], file["ground_truth"] = class_map, rgb, class_map
    monkeypatch.setattr("hsi_al.report.run_files.MOST_PIXELS", 9)
    predictions = read_predictions(tmp_path)
    assert predictions is not None
    assert predictions.shape == (5, 7)
    assert predictions.class_map.tolist() == [[1, 3, 5, 7], [15, 17, 19, 21], [29, 31, 33, 35]]
    assert predictions.rgb[:, :, 1].tolist() == predictions.class_map.tolist()
    shown = map_figure(class_map, class_map.astype(np.int64), rgb, {}, "").axes
    assert [np.asarray(axes.images[0].get_array()).shape for axes in shown] == [(3, 4, 3)] * 3
    monkeypatch.setattr("hsi_al.report.run_files.MOST_PIXELS", 35)
    whole = read_predictions(tmp_path)
    assert whole is not None
    assert whole.class_map.tolist() == class_map.tolist()


def test_labelled_pixels_lie_where_they_are_in_the_thinned_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "predictions.h5", "w") as file:
        file["class_map"], file["rgb"] = np.ones((5, 7), np.uint8), np.zeros((5, 7, 3), np.uint8)
    with h5py.File(tmp_path / "pool.h5", "w") as file:
        file["pixel_id"], file["labelled_at"] = np.array([0, 9, 20, 34]), np.array([0, -1, 2, 1])
    for most, expected in ((9, [0, 7, 11]), (35, [0, 20, 34])):  # 20 is row 2, column 6
        monkeypatch.setattr("hsi_al.report.run_files.MOST_PIXELS", most)
        predictions = read_predictions(tmp_path)
        assert predictions is not None
        pool = _pool(tmp_path, predictions)
        assert pool.pixel_id.tolist() == expected
        assert pool.labelled_at.tolist() == [0, 2, 1]


def test_lengths_of_a_scale_bar() -> None:
    for most, length, text in (
        (870.0, 500.0, "500 m"),
        (1000.0, 1000.0, "1 km"),
        (0.35, 0.2, "0.2 m"),
        (49_999, 20_000, "20 km"),
    ):
        assert round_length(most) == pytest.approx(length) and distance(round_length(most)) == text


def test_a_scale_bar_has_the_length_that_it_says() -> None:
    where = Georeference('PROJCS["x",UNIT["metre",1]]', (10.0, 0.0, 5e5, 0.0, -10.0, 5e6))
    maps, names = np.ones((40, 60), np.uint8), {1: "a"}
    figure = map_figure(maps, None, np.zeros((40, 60, 3), np.uint8), names, "t", None, where, (400, 600))
    axes = figure.axes[0]
    (line,) = axes.lines
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["N", "1 km"]
    assert np.ptp(np.asarray(line.get_xdata(), float)) * 6000 == pytest.approx(1000)  # 600 columns of 10 m

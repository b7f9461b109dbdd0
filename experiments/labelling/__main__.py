"""Record a session: `python -m experiments.labelling OUT.csv`, the ground truth answers the page's questions.

The server is a process of its own, as a user starts it, and is asked over HTTP only. A pixel without ground truth is
answered by "can't tell". After each answer the table notes how long it took to be stored, how old the map is, and the
accuracy of the map on the pixels with ground truth that nobody has answered yet, which the tool never sees.
"""

import argparse
import csv
import io
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image

from hsi_al.scenes.catalogue import data_folder, load_catalogue_scene
from hsi_al.scenes.custom import load_custom_scene
from hsi_al.scenes.scene import Scene

THINKING = 0.5  # seconds before an answer: nobody answers at once


@contextmanager
def serving(arguments: list[str]) -> Iterator[str]:
    """Start `python -m hsi_al.label` and yield its address; end it with SIGINT and look that it ends well."""
    command = [sys.executable, "-m", "hsi_al.label", *arguments, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        address = next(line.strip() for line in process.stdout if line.startswith("http://"))
        yield address
        process.send_signal(signal.SIGINT)
        print(process.stdout.read())
    if process.returncode:
        raise RuntimeError(f"the server ended with {process.returncode}")


class Page:
    """What a page knows: the address and the state after the last answer."""

    def __init__(self, address: str) -> None:
        self.root, _, token = address.partition("/?token=")
        self.http = requests.Session()
        self.http.headers["X-Token"] = token
        self.state: dict[str, Any] = self.get("state")

    def get(self, path: str) -> Any:  # noqa: ANN401
        """Return what the API answers."""
        answer = self.http.get(f"{self.root}/api/{path}", timeout=60)
        answer.raise_for_status()
        return answer.json()

    def answer(self, pixel: int, value: int | None) -> float:
        """Answer a question; return the seconds until the answer was stored and the next question there."""
        began = time.perf_counter()
        answer = self.http.post(f"{self.root}/api/labels", json={"pixel_id": pixel, "value": value}, timeout=60)
        answer.raise_for_status()
        self.state = answer.json()
        return time.perf_counter() - began

    def class_map(self, shape: tuple[int, int]) -> NDArray[np.int64] | None:
        """Return the label values of the present map, (H, W), read from its tiles; None if tiles are missing."""
        about = self.get("scene")
        size, level = about["tile_size"], about["max_level"]
        found = np.zeros(shape, np.int64)
        colours = {entry["colour"]: entry["value"] for entry in self.state["classes"]}
        for top in range(0, shape[0], size):
            for left in range(0, shape[1], size):
                place = f"{left // size}_{top // size}.png?v={self.state['map_version']}"
                answer = self.http.get(f"{self.root}/api/tiles/map/{level}/{place}", timeout=60)
                if answer.status_code == 404:  # no data there
                    continue
                if answer.status_code != 200:
                    return None
                picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
                part = found[top : top + picture.shape[0], left : left + picture.shape[1]]
                for colour, value in colours.items():
                    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
                    part[(picture == wanted).all(axis=2)] = value
        return found


def record(
    place: str,
    scene: Scene,
    n_answers: int,
    session: Path,
    thinking: float,
    other: bool = False,
    settings: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Answer so many questions, or until the maps no longer change; return a row per answer.

    Args:
        place: The scene as the command takes it: a name of the catalogue or a file.
        scene: The scene with its ground truth, which answers.
        n_answers: Number of answers.
        session: Folder of the session.
        thinking: Seconds before each answer.
        other: Whether ground without ground truth is a class of its own; else it can't be told.
        settings: Settings of the session, such as seed=1.
    """
    truth = scene.ground_truth.ravel()
    names = [scene.class_names[value] for value in scene.label_values.tolist()]
    beyond = len(names) + 1 if other else None
    names += ["other"] if other else []
    value_of = {original: place for place, original in enumerate(scene.label_values.tolist(), 1)}
    known = np.array([value_of.get(int(value), 0) for value in truth])
    answered = np.zeros(truth.size, bool)
    rows: list[dict[str, Any]] = []
    with serving([place, "--session", str(session), "--classes", ",".join(names), *settings]) as address:
        page, began = Page(address), time.perf_counter()
        while len(rows) < n_answers and not page.state["stable"]:
            query = page.state["query"]
            if query is None:
                time.sleep(0.2)
                page.state = page.get("state")
                continue
            time.sleep(thinking)
            pixel = query["pixel_id"]
            stored = page.answer(pixel, int(known[pixel]) or beyond)
            answered[pixel] = True
            accuracy = None
            if page.state["map_version"]:
                class_map = page.class_map((scene.height, scene.width))
                scored = (known > 0) & ~answered
                accuracy = None if class_map is None else float(np.mean(class_map.ravel()[scored] == known[scored]))
            rows.append(
                {
                    "answer": len(rows) + 1,
                    "seconds": round(time.perf_counter() - began, 2),
                    "stored_ms": round(1000 * stored, 1),
                    "labels": page.state["n_labelled"],
                    "cant_tell": page.state["n_skipped"],
                    "map_labels": page.state["map_labels"],
                    "advice": "can't tell" in (page.state["advice"] or ""),
                    "oa": "" if accuracy is None else round(accuracy, 4),
                }
            )
            if len(rows) % 20 == 0:
                print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Record a session and write it as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scene", default="indian_pines", help="name of a scene of the catalogue, or file of a cube")
    parser.add_argument("--truth", type=Path, help="file of its ground truth, (rows, columns)")
    parser.add_argument("--truth-key", help="key of the ground truth in its file")
    parser.add_argument("--answers", type=int, default=300)
    parser.add_argument("--other", action="store_true", help="ground without ground truth is a class of its own")
    parser.add_argument("--thinking", type=float, default=THINKING, help="seconds before each answer")
    parser.add_argument("settings", nargs="*", help="settings of the session, such as seed=1 learner=lda")
    given = parser.parse_args()
    if given.truth is None:
        scene = load_catalogue_scene(given.scene, data_folder(None))
    else:
        scene = load_custom_scene("scene", Path(given.scene), None, given.truth, given.truth_key)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "session"
        rows = record(given.scene, scene, given.answers, place, given.thinking, given.other, given.settings)
    with given.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    stored = np.array([row["stored_ms"] for row in rows])
    print(
        f"{rows[-1]['labels']} labels, {rows[-1]['cant_tell']} that one can't tell, in {rows[-1]['seconds']:.0f} s; "
        f"OA {rows[-1]['oa']}; stored within {np.median(stored):.0f} ms (median), {stored.max():.0f} ms (most)"
    )


if __name__ == "__main__":
    main()

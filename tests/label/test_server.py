"""The HTTP interface: what it answers, and what it refuses."""

import asyncio
import errno
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from hsi_al.label.assessment import drawn
from hsi_al.label.guard import MOST_BODY
from hsi_al.label.session import Session
from hsi_al.scenes.scene import Scene
from tests.label.fakes import HEADERS, MASKED, PORT, SIDE, TOKEN, TRUTH, Client, config_of, scene_of, session_in, taught

ADDRESSES = ("/", "/static/index.html", "/api/state", "/api/scene", "/api/tiles/scene/5/0_0.png", "/nowhere")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return taught(tmp_path / "session", 1)


@pytest.fixture
def client(session: Session, tmp_path: Path) -> Client:
    web = tmp_path / "web"
    (web / "vendor").mkdir(parents=True)
    (web / "index.html").write_text("<!doctype html><title>page</title>")
    (web / "vendor" / "one.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    return Client(session, web)


def error_of(response: Any) -> str:
    assert response.headers["content-type"] == "application/json"
    told: str = response.json()["error"]
    assert told[0].isupper() and told.endswith(".") and "\n" not in told
    return told


# The person's way through it.


def test_an_answer_is_stored_and_the_next_pixel_comes_with_the_state(client: Client, session: Session) -> None:
    before = client("GET", "/api/state").json()
    assert before["n_labelled"] == before["map_labels"] == 8 and before["map_version"] == 1
    pixel = before["query"]["pixel_id"]
    assert before["query"] == {"pixel_id": pixel, "row": pixel // SIDE, "column": pixel % SIDE}
    after = client.post("/api/labels", pixel_id=pixel, value=int(TRUTH[pixel])).json()
    assert before["map_current"] and not after["map_current"]
    assert after["n_labelled"] == 9 and after["map_labels"] == 8 and after["version"] == before["version"] + 1
    assert after["query"]["pixel_id"] != pixel and after["can_undo"] and not after["can_redo"]
    skipped = client.post("/api/labels", pixel_id=after["query"]["pixel_id"], value=None).json()
    assert (skipped["n_labelled"], skipped["n_skipped"]) == (9, 1)
    undone = client.post("/api/undo").json()
    assert undone["query"] == after["query"] and undone["n_skipped"] == 0 and undone["can_redo"]
    assert client.post("/api/redo").json()["n_skipped"] == 1
    session.learn()
    state = client("GET", "/api/state").json()
    assert state["map_labels"] == 9 and state["map_version"] == 2 and state["busy"] is False and state["map_current"]
    other = 3 - int(TRUTH[pixel]) if TRUTH[pixel] in (1, 2) else 1
    corrected = client.post("/api/labels", pixel_id=pixel, value=other).json()
    assert corrected["n_labelled"] == corrected["map_labels"] == 9 and not corrected["map_current"]
    client.post("/api/undo")
    assert sum(found["share"] for found in state["classes"]) == pytest.approx(1)
    assert [found["key"] for found in state["classes"]] == ["1", "2", "3", "4"]


def test_a_new_session_has_no_map_and_no_question_yet(tmp_path: Path) -> None:
    client = Client(session_in(tmp_path / "s"))
    state = client("GET", "/api/state").json()
    assert state["query"] is None and state["map_version"] == state["map_labels"] == state["n_labelled"] == 0
    assert state["map_seconds"] is None and state["classes"] == [] and state["assessment"] is None
    assert client("GET", "/api/spectra").json() == {"classes": []} and client("GET", "/api/labels").json() == []
    assert client("GET", "/api/tiles/map/5/0_0.png").status_code == 204


def test_what_the_page_learns_about_scene_pixels_and_labels(client: Client, session: Session) -> None:
    scene = client("GET", "/api/scene").json()
    assert (scene["height"], scene["width"], scene["n_bands"]) == (SIDE, SIDE, 6) and scene["max_level"] == 5
    assert scene["wavelengths"][0] == 450 and scene["gaps"] == [] and not scene["georeferenced"]
    labelled = client("GET", "/api/labels").json()
    assert [one["pixel_id"] for one in labelled] == sorted(
        session.answers.given, key=lambda pixel: -session.answers.given[pixel].number
    )
    pixel = labelled[0]["pixel_id"]
    found = client("GET", f"/api/pixel/{pixel}").json()
    assert found["values"] == pytest.approx(scene_of().cube.reshape(-1, 6)[pixel].tolist())
    assert found["label"] == TRUTH[pixel] and found["predicted"] in (1, 2, 3, 4) and 0 < found["probability"] <= 1
    masked = client("GET", f"/api/pixel/{MASKED}").json()
    assert masked["values"] == [None] * 6 and masked["predicted"] is None
    assert found["x"] is None and found["y"] is None
    spectra = client("GET", "/api/spectra").json()["classes"]
    ids = [one["pixel_id"] for one in labelled if one["value"] == spectra[0]["value"]]
    values = scene_of().cube.reshape(-1, 6)[ids].astype(float)
    assert spectra[0]["mean"] == pytest.approx(values.mean(axis=0).tolist())
    assert spectra[0]["std"] == pytest.approx(values.std(axis=0).tolist(), abs=1e-9) and spectra[0]["n"] == len(ids)


def test_coordinates_are_those_of_the_pixels_centre(tmp_path: Path) -> None:
    client = Client(session_in(tmp_path / "s", scene=scene_of(georeferenced=True)))
    found = client("GET", f"/api/pixel/{2 * SIDE + 3}").json()
    assert (found["x"], found["y"]) == (500035.0, 5399975.0)


def test_tiles_show_scene_map_and_uncertainty(client: Client, session: Session) -> None:
    def tile(address: str) -> np.ndarray:
        response = client("GET", address)
        assert response.status_code == 200 and response.headers["content-type"] == "image/png"
        found: np.ndarray = np.rint(255 * imread(io.BytesIO(response.content))).astype(int)
        return found

    assert session.map is not None
    whole = tile("/api/tiles/map/5/0_0.png")
    assert whole.shape == (SIDE, SIDE, 4)
    classes = session.map.classes.reshape(SIDE, SIDE)
    for value, found in session.answers.classes.items():
        colour = [*bytes.fromhex(found.colour[1:]), 255]
        assert (whole[classes == value] == colour).all()
    assert whole[0, MASKED, 3] == 0
    assert (tile("/api/tiles/map/4/0_0.png") == whole[::2, ::2]).all()
    assert tile("/api/tiles/map/0/0_0.png").shape == (1, 1, 4)
    uncertain = tile("/api/tiles/uncertainty/5/0_0.png")
    assert uncertain.shape == (SIDE, SIDE, 4) and uncertain[0, MASKED, 3] == 0
    scene = tile("/api/tiles/scene/5/0_0.png?bands=5,1,0&contrast=0")
    band = scene_of().cube[:, :, 5].astype(float)
    band[0, MASKED] = band[1, 1]
    expected = 255 * (band - band.min()) / (band.max() - band.min())
    expected[0, MASKED] = 0
    assert np.abs(scene[:, :, 0] - expected).max() < 4  # the sample of the scene leaves out the masked pixel
    assert tile("/api/tiles/scene/5/0_0.png?bands=pca").shape == (SIDE, SIDE, 3)


def test_tiles_that_will_never_be_are_told_from_those_to_come(tmp_path: Path) -> None:
    no_data = np.zeros((300, 20), bool)
    no_data[:256] = True
    cube = np.random.default_rng(0).normal(size=(300, 20, 3)).astype(np.float32)
    scene = Scene("half", cube, np.zeros((300, 20), np.uint8), {}, no_data=no_data)
    config = config_of("learner=jcr", "acquisition=random")
    session = session_in(tmp_path / "s", "corn", "oats", scene=scene, config=config)
    client = Client(session)
    assert client("GET", "/api/tiles/map/9/0_1.png").status_code == 204
    session.take([(257 * 20, 1), (299 * 20, 2)])
    session.learn()
    assert client("GET", "/api/tiles/map/9/0_1.png").status_code == 200
    empty = client("GET", "/api/tiles/map/9/0_0.png")
    assert (empty.status_code, empty.json()["error"]) == (404, "There is no data here.")
    unsure = client("GET", "/api/tiles/uncertainty/9/0_1.png")
    assert unsure.status_code == 404 and "gives no probabilities" in unsure.json()["error"]
    assert client("GET", "/api/scene").json()["uncertainty"] is False


def test_a_large_polygon_hides_no_earlier_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_in(tmp_path / "s", "corn", "oats")
    early = [2 * SIDE + 1, 2 * SIDE + 5, 2 * SIDE + 9]
    for pixel in early:
        session.answer(pixel, 2)
    session.fill_polygon([(4, 0), (4, SIDE), (14, SIDE), (14, 0)], 1)
    monkeypatch.setattr("hsi_al.label.server.MOST_OF_ONE", 7)
    monkeypatch.setattr("hsi_al.label.server.MOST_LISTED", 9)
    listed = [one["pixel_id"] for one in Client(session)("GET", "/api/labels").json()]
    assert len(listed) == 9 and listed[-2:] == [early[2], early[1]]  # the newest first
    step = -(-10 * SIDE // 7)
    assert listed[:-2] == [4 * SIDE + step * n for n in range(7)]
    session.doubts = {early[0]: (2, 0.9), early[1]: (2, 0.1), 4 * SIDE: (1, 0.8)}
    monkeypatch.setattr("hsi_al.label.server.MOST_DOUBTED", 1)
    found = Client(session)("GET", "/api/labels").json()
    assert [one["pixel_id"] for one in found] == [*listed, early[0]] and found[-1]["doubt"] == 0.9


def test_classes_and_polygons_from_the_page(client: Client) -> None:
    state = client.post("/api/classes", name="barley").json()
    assert state["classes"][-1] == {**state["classes"][-1], "value": 5, "name": "barley", "key": "5", "n_labelled": 0}
    changed = client("PATCH", "/api/classes/5", json={"name": "rye", "key": "r", "colour": "#101010"}).json()
    assert changed["classes"][-1]["name"] == "rye" and changed["classes"][-1]["colour"] == "#101010"
    square = [[10, 10], [10, 12], [12, 12.0], [12, 10]]
    filled = client.post("/api/polygon", points=square, value=5).json()
    assert filled["classes"][-1]["n_labelled"] == 4
    assert client.post("/api/undo").json()["classes"][-1]["n_labelled"] == 0


def test_an_assessment_from_the_page(client: Client, session: Session) -> None:
    assert client("GET", "/api/assessment").status_code == 404
    state = client.post("/api/assessment", n=12).json()
    assert state["assessment"] == {"n": 12, "answered": 0, "done": False}
    assert client.post("/api/assessment", n=12).status_code == 409
    for number in range(12):
        pixel = state["query"]["pixel_id"]
        about = client("GET", f"/api/pixel/{pixel}").json()
        assert about["predicted"] is None and about["probability"] is None and about["label"] is None  # blind
        state = client.post("/api/labels", pixel_id=pixel, value=int(TRUTH[pixel])).json()
        assert state["assessment"]["answered"] == number + 1 and state["n_labelled"] == 8
    assert state["assessment"]["done"]
    report = client("GET", "/api/assessment").json()
    assert report["answered"] == 12 and 0 <= report["overall"]["estimate"] <= 1 and report["notes"]
    assert client("DELETE", "/api/assessment").status_code == 409
    client.post("/api/assessment", n=12)
    assert client("DELETE", "/api/assessment").json()["assessment"] is None
    assert "10,000 or fewer" in error_of(client.post("/api/assessment", n=10**9))
    whole = client.post("/api/assessment", n=10_000).json()["assessment"]
    assert whole["n"] == SIDE**2 - 1  # all of a small map


def test_two_tabs_stay_consistent(client: Client, session: Session) -> None:
    first = second = client("GET", "/api/state").json()
    pixel = first["query"]["pixel_id"]
    first = client.post("/api/labels", pixel_id=pixel, value=1).json()
    assert second["query"]["pixel_id"] == pixel  # the other tab still shows it
    second = client.post("/api/labels", pixel_id=pixel, value=2).json()  # its answer counts, as a correction
    assert second["n_labelled"] == 9 and session.answers.given[pixel].value == 2
    assert second["query"] == first["query"]
    client.post("/api/undo")
    assert session.answers.given[pixel].value == 1


SQUARE = [[10, 10], [10, 12], [12, 12.0], [12, 10]]
CHANGES = [
    ("POST", "/api/labels", {"pixel_id": 3, "value": 1}),
    ("POST", "/api/labels", {"pixel_id": 3, "value": None}),
    ("POST", "/api/polygon", {"points": SQUARE, "value": 2}),
    ("POST", "/api/undo", {}),
    ("POST", "/api/redo", {}),
    ("POST", "/api/classes", {"name": "rye"}),
    ("PATCH", "/api/classes/2", {"name": "barley"}),
    ("POST", "/api/assessment", {"n": 12}),
    ("DELETE", "/api/assessment", {}),
]


@pytest.mark.parametrize(("method", "address", "given"), CHANGES)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_request_that_comes_again_changes_nothing_twice(
    client: Client, session: Session, method: str, address: str, given: dict[str, Any], restarted: bool
) -> None:
    if method == "DELETE":
        client.post("/api/assessment", n=12)
    else:  # steps to take back, and to give again
        for pixel in (7, 8, 9, 10):
            client.post("/api/labels", pixel_id=pixel, value=1)
        client.post("/api/undo")
        client.post("/api/undo")
    before = client("GET", "/api/state").json()
    once = client(method, address, json={**given, "id": "request-of-a-page"})
    assert once.status_code == 200 and once.json()["version"] == before["version"] + 1
    if restarted:  # as after kill -9 before the reply: nothing but the files
        session = session_in(session.folder)
        client = Client(session)
    again = client(method, address, json={**given, "id": "request-of-a-page"})
    changing = {"query", "classes", "n_labelled", "n_skipped", "version", "can_undo", "can_redo", "assessment"}
    parts = changing - {"classes", "query"} if restarted else changing  # without a map there are no shares
    assert again.status_code == 200
    assert {name: again.json()[name] for name in parts} == {name: once.json()[name] for name in parts}
    assert len(session.journal.events) == before["version"] + 1
    if method != "DELETE" and "undo" in address:  # another one is carried out
        assert (
            client(method, address, json={**given, "id": "another-request"}).json()["version"] > again.json()["version"]
        )


def test_a_refused_request_may_come_again_and_an_id_stands_for_one_request(
    client: Client, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    label = {"pixel_id": 3, "value": 1, "id": "a-random-text"}
    monkeypatch.setattr("hsi_al.pool.journal.os.write", full)
    assert client.post("/api/labels", **label).status_code == 507
    monkeypatch.undo()
    assert client.post("/api/labels", **label).json()["n_labelled"] == 9
    version = session.answers.version
    for address, given in (("/api/labels", {**label, "value": 2}), ("/api/undo", {"id": label["id"]})):
        other = client.post(address, **given)
        assert other.status_code == 400 and "every change needs a new one" in error_of(other)
    for wrong in ("1", "", "with a space", "x" * 65, "ümläut-8", 12345678, ["a-random-text"], True):
        response = client.post("/api/undo", id=wrong)
        assert response.status_code == 400 and error_of(response)
    assert session.answers.version == version
    assert client.post("/api/undo", id=None).json()["version"] == version + 1  # as without one


def test_a_request_that_comes_again_waits_for_the_first_one(
    client: Client, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, go = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        drawing.set()
        assert go.wait(20)
        return drawn(*arguments)

    monkeypatch.setattr("hsi_al.label.session.drawn", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/api/assessment", n=12, id="one-request")
        assert drawing.wait(20)
        second = pool.submit(client.post, "/api/assessment", n=12, id="one-request")
        assert client.post("/api/labels", pixel_id=3, value=1, id="other-one").status_code == 200  # nobody else waits
        go.set()
        assert first.result().status_code == second.result().status_code == 200
    assert len(session.answers.assessments) == 1


# What is refused.


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    "headers",
    [
        {"host": HEADERS["host"]},
        {**HEADERS, "x-token": "wrong"},
        {**HEADERS, "x-token": TOKEN[:-1]},
        {**HEADERS, "x-token": ""},
        {**HEADERS, "x-token": "ß"},
        {"host": HEADERS["host"], "cookie": f"hsi_al_token_{PORT}=wrong"},
        {"host": HEADERS["host"], "cookie": f"hsi_al_token_1={TOKEN}"},
        {"host": HEADERS["host"], "cookie": "\x01;;=, junk"},
    ],
)
def test_without_the_token_nothing_is_told(client: Client, address: str, headers: dict[str, str]) -> None:
    encoded: Any = {name: value.encode("latin-1") for name, value in headers.items()}
    response = client("GET", address, headers=encoded)
    assert response.status_code == 403 and "token" in error_of(response) and "set-cookie" not in response.headers


def test_the_token_comes_by_address_cookie_or_header(client: Client) -> None:
    host = {"host": HEADERS["host"]}
    page = client("GET", f"/?token={TOKEN}", headers=host)
    assert page.status_code == 200 and page.text.startswith("<!doctype html>")
    cookie = page.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and cookie.startswith(f"hsi_al_token_{PORT}={TOKEN};")
    pair = cookie.split(";")[0]
    assert client("GET", "/api/state", headers={**host, "cookie": pair}).status_code == 200
    for other in ("other=1", 'a={"x": 1}', "a=b c", "x@y=1", 'a="x', "flag", ""):  # of other programs on this machine
        assert client("GET", "/api/state", headers={**host, "cookie": f"{other}; {pair}"}).status_code == 200
        assert client("GET", "/api/state", headers={**host, "cookie": f"{pair}; {other}"}).status_code == 200
    assert client("GET", "/api/state", headers=HEADERS).status_code == 200
    assert client("GET", f"/api/state?token={TOKEN}", headers=host).status_code == 200
    local = {"x-token": TOKEN, "host": f"localhost:{PORT}"}
    assert client("GET", "/api/state", headers=local).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1.evil:{PORT}", ""]
)
def test_foreign_hosts_are_refused_though_they_lead_here(client: Client, host: str) -> None:
    for method, address in (("GET", "/api/state"), ("GET", f"/?token={TOKEN}"), ("POST", "/api/undo")):
        response = client(method, address, headers={**HEADERS, "host": host})
        assert response.status_code == 403 and "another site" in error_of(response)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1", ""])
def test_foreign_origins_are_refused(client: Client, session: Session, origin: str) -> None:
    version = session.answers.version
    response = client("POST", "/api/undo", headers={**HEADERS, "origin": origin})
    assert response.status_code == 403 and session.answers.version == version
    own = client("POST", "/api/undo", headers={**HEADERS, "origin": f"http://127.0.0.1:{PORT}"})
    assert own.status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "vendor/../../secret.txt",
        "/etc/passwd",
        "..\\secret.txt",
        "vendor",
        "",
        "index.html%00",
        ".hidden",
    ],
)
def test_no_path_leads_out_of_the_page(client: Client, name: str) -> None:
    assert client("GET", "/static/vendor/one.js").text == "1"
    response = client("GET", f"/static/{name}")
    assert response.status_code in (403, 404) and "secret" not in response.text and "root:" not in response.text


def test_nothing_may_come_from_elsewhere(client: Client) -> None:
    for address in ADDRESSES:
        response = client("GET", address)
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; img-src 'self' data:") and "http" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
    assert client("GET", "/api/state").headers["cache-control"] == "no-store"
    refused = client("GET", "/api/state", headers={"host": HEADERS["host"]})
    assert refused.headers["cache-control"] == "no-store" and "content-security-policy" in refused.headers


@pytest.mark.parametrize(
    "given",
    [
        {"pixel_id": True, "value": 1},
        {"pixel_id": 3.0, "value": 1},
        {"pixel_id": "3", "value": 1},
        {"pixel_id": None, "value": 1},
        {"pixel_id": [3], "value": 1},
        {"pixel_id": -1, "value": 1},
        {"pixel_id": SIDE**2, "value": 1},
        {"pixel_id": 10**40, "value": 1},
        {"pixel_id": MASKED, "value": 1},
        {"value": 1},
        {"pixel_id": 3},
        {"pixel_id": 3, "value": 99},
        {"pixel_id": 3, "value": True},
        {"pixel_id": 3, "value": "1"},
        {"pixel_id": 3, "value": 1.0},
        {},
        [],
        7,
        "text",
        None,
    ],
)
def test_wrong_labels_are_refused_with_a_sentence(client: Client, session: Session, given: Any) -> None:
    version = session.answers.version
    response = client("POST", "/api/labels", json=given)
    assert response.status_code == 400 and error_of(response) and session.answers.version == version


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"pixel_id": NaN, "value": 1}', b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(client: Client, content: bytes) -> None:
    headers = {**HEADERS, "content-type": "application/json"}
    response = client("POST", "/api/labels", headers=headers, content=content)
    assert response.status_code == 400 and error_of(response)


@pytest.mark.parametrize("huge", ["1e308", "-1e308", "9" * 400, "-" + "9" * 400])
def test_corners_far_away_are_cut_to_the_scene(client: Client, session: Session, huge: str) -> None:
    """Also whole numbers that no float holds."""
    headers = {**HEADERS, "content-type": "application/json"}
    content = f'{{"points": [[0, 0], [0, {huge}], [3, {huge}], [3, 0]], "value": 1}}'.encode()
    response = client("POST", "/api/polygon", headers=headers, content=content)
    if huge.startswith("-"):
        assert response.status_code == 400 and "No pixel" in error_of(response)
    else:
        assert response.status_code == 200 and all(pixel in session.answers.given for pixel in range(6, 3 * SIDE))
    for wrong in ("NaN", "Infinity", "1e999"):
        response = client(
            "POST", "/api/polygon", headers=headers, content=content.replace(huge.encode(), wrong.encode())
        )
        assert response.status_code == 400 and "pair of numbers" in error_of(response)


def test_only_json_is_taken(client: Client, session: Session) -> None:
    body = json.dumps({"pixel_id": 3, "value": 1}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        response = client("POST", "/api/labels", headers={**HEADERS, "content-type": kind}, content=body)
        assert response.status_code == 400 and "application/json" in error_of(response)
    assert 3 not in session.answers.given


@pytest.mark.parametrize(
    ("method", "address", "given"),
    [
        ("POST", "/api/labels", {"pixel_id": 3, "value": 1, "blnd": True}),
        ("POST", "/api/polygon", {"points": [[1, 1], [9, 9], [3, 9]], "value": 1, "blind": True}),
        ("POST", "/api/undo", {"n": 2}),
        ("POST", "/api/redo", {"n": 2}),
        ("POST", "/api/classes", {"name": "new", "color": "#336699"}),
        ("PATCH", "/api/classes/1", {"colr": "#336699"}),
        ("POST", "/api/assessment", {"n": 40, "seed": 1}),
        ("DELETE", "/api/assessment", {"n": 40}),
        ("POST", "/api/export", {"folder": "/tmp"}),
    ],
)
def test_keys_that_an_address_does_not_take_are_refused(
    client: Client, session: Session, method: str, address: str, given: Any
) -> None:
    version = session.answers.version
    response = client(method, address, json=given)
    assert response.status_code == 400 and "The request has a key" in error_of(response)
    assert session.answers.version == version


@pytest.mark.parametrize(
    ("address", "given"),
    [
        ("/api/polygon", {"points": [[1, 1], [2, 2]], "value": 1}),
        ("/api/polygon", {"points": "all", "value": 1}),
        ("/api/polygon", {"points": [[1, 1], [2, 2], [3]], "value": 1}),
        ("/api/polygon", {"points": [[1, 1], [2, 2], [3, "x"]], "value": 1}),
        ("/api/polygon", {"points": [[1, 1], [2, 2], [3, True]], "value": 1}),
        ("/api/polygon", {"points": [[1, 1], [9, 9], [3, 9]]}),
        ("/api/polygon", {"points": [[-9, -9], [-8, -9], [-8, -8]], "value": 1}),
        ("/api/classes", {}),
        ("/api/classes", {"name": 7}),
        ("/api/classes", {"name": "corn"}),
        ("/api/assessment", {}),
        ("/api/assessment", {"n": 1}),
        ("/api/assessment", {"n": -40}),
        ("/api/assessment", {"n": 10_001}),
        ("/api/assessment", {"n": 10**9}),
        ("/api/assessment", {"n": "40"}),
    ],
)
def test_other_wrong_requests_are_refused(client: Client, session: Session, address: str, given: Any) -> None:
    version = session.answers.version
    response = client("POST", address, json=given)
    assert response.status_code == 400 and error_of(response) and session.answers.version == version


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/pixel/x", 400),
        ("/api/pixel/-1", 400),
        ("/api/pixel/1.5", 400),
        (f"/api/pixel/{SIDE**2}", 400),
        ("/api/pixel/99999999999999999999", 400),
        ("/api/tiles/scene/5/0_9.png", 404),
        ("/api/tiles/scene/6/0_0.png", 404),
        ("/api/tiles/scene/-1/0_0.png", 400),
        ("/api/tiles/scene/5/a_0.png", 400),
        ("/api/tiles/other/5/0_0.png", 404),
        ("/api/tiles/scene/5/0_0.png?bands=1,2", 400),
        ("/api/tiles/scene/5/0_0.png?bands=1,2,6", 400),
        ("/api/tiles/scene/5/0_0.png?contrast=50", 400),
        ("/api/tiles/scene/5/0_0.png?contrast=nan", 400),
        ("/api/nothing", 404),
        ("/docs", 404),
        ("/openapi.json", 404),
    ],
)
def test_wrong_addresses_are_refused(client: Client, address: str, status: int) -> None:
    response = client("GET", address)
    assert response.status_code == status and error_of(response)
    assert client("PUT", "/api/labels", json={}).status_code == 405


def test_large_bodies_are_refused_whatever_they_claim(client: Client, session: Session) -> None:
    headers = {**HEADERS, "content-type": "application/json"}
    large = b" " * (MOST_BODY + 1)
    assert client("POST", "/api/labels", headers=headers, content=large).status_code == 413
    for claimed in ("99999999999999999999", "-1", "x", str(MOST_BODY + 1)):
        response = client("POST", "/api/labels", headers={**headers, "content-length": claimed}, content=b"{}")
        assert response.status_code == 413 and error_of(response)

    read = 0

    async def call() -> int:
        """A body in chunks without a length: no more of it is read than is taken."""

        async def receive() -> dict[str, Any]:
            nonlocal read
            read += 2**16
            return {"type": "http.request", "body": b" " * 2**16, "more_body": True}

        answers: list[Any] = []

        async def send(message: Any) -> None:
            answers.append(message)

        scope = {
            **{"type": "http", "method": "POST", "path": "/api/labels", "query_string": b""},
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await client.app(scope, receive, send)
        status: int = answers[0]["status"]
        return status

    assert asyncio.run(call()) == 413 and read <= MOST_BODY + 2**17
    exact = json.dumps({"pixel_id": 3, "value": 1}).encode().ljust(MOST_BODY)
    assert client("POST", "/api/labels", headers=headers, content=exact).status_code == 200


def test_a_full_disk_is_said_and_nothing_is_kept(
    client: Client, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    version = session.answers.version
    monkeypatch.setattr("hsi_al.pool.journal.os.write", full)
    response = client.post("/api/labels", pixel_id=3, value=1)
    assert response.status_code == 507 and "free space" in error_of(response) and "answers.jsonl" in error_of(response)
    monkeypatch.undo()
    assert session.answers.version == version and 3 not in session.answers.given
    assert client.post("/api/labels", pixel_id=3, value=1).status_code == 200


def test_a_bug_is_no_dead_server(client: Client, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "undo", lambda: 1 / 0)
    response = client.post("/api/undo")
    assert response.status_code == 500 and "ZeroDivisionError" in error_of(response)
    assert client("GET", "/api/state").status_code == 200


def test_other_protocols_are_not_spoken(client: Client) -> None:
    async def call() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        await client.app({"type": "websocket", "path": "/", "headers": []}, receive, send)
        return sent

    assert asyncio.run(call()) == [{"type": "websocket.close"}]

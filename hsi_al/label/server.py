"""The HTTP interface of a labelling session, for the page and for programs; see docs/labelling-api.md."""

import errno
import json
import math
import mimetypes
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from hsi_al.errors import HsiAlError, sentence
from hsi_al.label import tiles
from hsi_al.label.exporting import export
from hsi_al.label.session import LATEST, Refused, Session
from hsi_al.pool.answers import Answer
from hsi_al.scenes.scene import Scene

MOSTLY_UNTOLD = 0.8  # share of "can't tell" from which the page says so
WEB = Path(__file__).with_name("web")
PAGE = "index.html"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MOST_ID = 10**12
CLASS = "name colour key"
MOST_SPECTRA = 200  # of a class, whose mean and spread are shown
MOST_LISTED = 5000  # answers
MOST_OF_ONE = 500  # pixels of a polygon, or of a file of labels
MOST_DOUBTED = 200  # answers that are listed however old they are
PNG = "image/png"


def static_files(folder: Path) -> dict[str, Path]:
    """Return the files of the page by their names in addresses, `sub/name` for those in folders."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
    }


def build_app(session: Session, web: Path = WEB) -> FastAPI:
    """Build the application, which trusts every request: put `hsi_al.label.guard.Guard` around it."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pictures = tiles.ScenePictures(session.scene)
    files = static_files(web)
    scene = session.scene
    height, width = scene.height, scene.width

    @app.get("/")
    def page() -> Response:
        return file_response(files, PAGE, "no-store")

    @app.get("/static/{name:path}")
    def static(name: str) -> Response:
        return file_response(files, name, "no-cache")

    @app.get("/api/state")
    def state() -> JSONResponse:
        return JSONResponse(state_of(session))

    @app.get("/api/scene")
    def about() -> JSONResponse:
        return JSONResponse(about_scene(session))

    @app.get("/api/tiles/{layer}/{level}/{name}.png")
    def tile(layer: str, level: str, name: str, bands: str = "", contrast: str = "2") -> Response:
        place = re.fullmatch(r"(\d{1,7})_(\d{1,7})", name)
        if place is None or not re.fullmatch(r"\d{1,2}", level):
            raise Refused("A tile is named by its level, column and row, such as 3/0_1.png.")
        window = tiles.window_of(height, width, int(level), int(place[1]), int(place[2]))
        if window is None:
            raise Refused("There is no such tile.", 404)
        if layer == "scene":
            packed = pictures.tile(bands_of(bands, session), contrast_of(contrast), window)
            return Response(packed, media_type=PNG, headers={"cache-control": "private, max-age=3600"})
        found = session.map
        if layer not in ("map", "uncertainty"):
            raise Refused("There are the layers scene, map and uncertainty.", 404)
        if session.has_data is not None and not window.of(session.has_data.reshape(height, width)).any():
            raise Refused("There is no data here.", 404)
        session.planner.mapper.want(window)
        if found is None:
            return Response(status_code=204)
        classes = found.classes.reshape(height, width)
        if layer == "map":
            drawn = tiles.map_tile(classes, {one.value: one.colour for one in classes_of(session)}, window)
        elif found.uncertainty is None:
            raise Refused("The learner gives no probabilities, so there is no uncertainty.", 404)
        else:
            drawn = tiles.uncertainty_tile(found.uncertainty.reshape(height, width), classes, window)
        return Response(status_code=204) if drawn is None else Response(drawn, media_type=PNG)

    @app.get("/api/pixel/{pixel_id}")
    def pixel(pixel_id: str) -> JSONResponse:
        return JSONResponse(about_pixel(session, id_in_path(pixel_id, session)))

    @app.get("/api/spectra")
    def spectra() -> JSONResponse:
        return JSONResponse({"classes": class_spectra(session)})

    @app.get("/api/labels")
    def labels() -> JSONResponse:
        return JSONResponse(all_labels(session))

    def changing(path: str, keys: str, change: Callable[[dict[str, Any]], object], method: str = "POST") -> None:
        """Add an address whose body, of these keys, changes the session, and which answers with the new state.

        With an `id` of its own a request may be sent again without changing anything twice.
        """

        def handle(request: Request, given: dict[str, Any] = Depends(body_of)) -> JSONResponse:  # noqa: B008
            require_keys(given, f"{keys} id")
            made = partial(change, given | request.path_params)
            name = request_id(given)
            if name is None:
                made()
            else:
                session.once(name, content_of(request, given), made)
            return JSONResponse(state_of(session))

        app.add_api_route(path, handle, methods=[method], response_model=None)

    def label(given: dict[str, Any]) -> None:
        if "value" not in given:
            raise Refused("A label needs pixel_id and value; null says that one can't tell.")
        blind = given.get("blind")
        if blind is not None and not isinstance(blind, bool):
            raise Refused("The value of blind is true or false.")
        session.answer(whole(given, "pixel_id"), None if given["value"] is None else whole(given, "value"), blind)

    changing("/api/labels", "pixel_id value blind", label)
    changing(
        "/api/polygon", "points value", lambda given: session.fill_polygon(corners_in(given), whole(given, "value"))
    )
    changing("/api/undo", "", lambda given: session.undo())
    changing("/api/redo", "", lambda given: session.redo())
    changing("/api/classes", CLASS, lambda given: session.add_class(text(given, "name") or "", *look(given)))

    def change_class(given: dict[str, Any]) -> None:
        if not re.fullmatch(r"\d{1,3}", given["value"]):
            raise Refused("A class is named by its value, a whole number.")
        session.change_class(int(given["value"]), text(given, "name"), *look(given))

    changing("/api/classes/{value}", CLASS, change_class, "PATCH")
    changing("/api/assessment", "n", lambda given: session.start_assessment(whole(given, "n")))
    changing("/api/assessment", "", lambda given: session.stop_assessment(), "DELETE")

    @app.get("/api/assessment")
    def assessed() -> JSONResponse:
        return JSONResponse(session.assessed())

    @app.post("/api/export", response_model=None)
    def export_files(given: dict[str, Any] = Depends(body_of)) -> JSONResponse:  # noqa: B008
        require_keys(given, "")
        files = export(session)
        return JSONResponse({"folder": str(files[0].parent.resolve()), "files": [path.name for path in files]})

    handlers: dict[Any, Any] = {
        HsiAlError: partial(answer_error, 400),
        OSError: partial(answer_error, 500),
        HTTPException: answer_http,
        Exception: partial(answer_error, 500),
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    return app


# Errors.


async def answer_error(status: int, request: Request, error: Exception) -> Response:
    """Answer with one sentence."""
    if isinstance(error, Refused):
        status = error.status
    if isinstance(error, OSError):
        status = 507 if error.errno in FULL else 500
        told = f"This was not kept. {sentence(error)}"
    elif isinstance(error, HsiAlError):
        told = sentence(error)
    else:
        told = f"The program has a bug here ({type(error).__name__}); what was answered before is kept."
    return JSONResponse({"error": told}, status)


async def answer_http(request: Request, error: Exception) -> Response:
    """Answer to an address or a method that there isn't."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = {404: "There is nothing at this address.", 405: "This address takes another method."}
    return JSONResponse({"error": told.get(status, "The request can't be understood.")}, status)


# Reading of requests.


async def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body of a request.

    Raises:
        Refused: There is none.
    """
    raw = await request.body()
    try:
        given = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        raise Refused("The body of the request is no JSON.") from None
    if not isinstance(given, dict):
        raise Refused("The body of the request is no JSON object.")
    return given


def require_keys(given: dict[str, Any], keys: str) -> None:
    """Raise Refused if a request has others than these keys: a slip in an optional one would do something else."""
    if other := sorted(given.keys() - keys.split()):
        there = f"it takes {', '.join(keys.split())}" if keys else "it takes none"
        raise Refused(f"The request has a key {other[0][:40]!r}, but {there}.")


def request_id(given: dict[str, Any]) -> str | None:
    """Return the id of a request; None if it has none.

    Raises:
        Refused: It is none that is sure to be new.
    """
    found = text(given, "id")
    if found is not None and not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", found):
        raise Refused("The id of a request is 8 to 64 letters, digits, - or _, drawn at random for every change.")
    return found


def content_of(request: Request, given: dict[str, Any]) -> str:
    """Return a checksum of what a request asks, whatever its id."""
    asked = {name: value for name, value in given.items() if name != "id"}
    told = f"{request.method} {request.url.path} {json.dumps(asked, sort_keys=True)}"
    return f"{zlib.crc32(told.encode()):08x}"


def whole(given: dict[str, Any], name: str) -> int:
    """Return a whole number of a request.

    Raises:
        Refused: It is missing, or something else.
    """
    value = given.get(name)
    if type(value) is not int or abs(value) > MOST_ID:  # True is an int, too
        raise Refused(f"The value of {name} has to be a whole number.")
    return value


def text(given: dict[str, Any], name: str) -> str | None:
    """Return a text of a request; None if it is missing or null.

    Raises:
        Refused: It is something else.
    """
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(f"The value of {name} has to be a text.")
    return value


def look(given: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return key and colour of a class in a request."""
    return text(given, "key"), text(given, "colour")


def corners_in(given: dict[str, Any]) -> list[tuple[float, float]]:
    """Return the corners of a polygon in a request.

    Raises:
        Refused: There are fewer than three, or they are no pairs of finite numbers.
    """
    points = given.get("points")
    if not isinstance(points, list) or len(points) < 3:
        raise Refused("A polygon needs three or more points [row, column].")
    found = []
    for point in points:
        if (
            not isinstance(point, list)
            or len(point) != 2
            or any(type(value) not in (int, float) or value != value for value in point)
            or any(isinstance(value, float) and math.isinf(value) for value in point)
        ):
            raise Refused("Every point of a polygon is a pair of numbers [row, column].")
        row, column = (float(min(max(value, -1e9), 1e9)) for value in point)
        found.append((row, column))
    return found


def id_in_path(text_: str, session: Session) -> int:
    """Return a pixel id of an address.

    Raises:
        Refused: It is no whole number, or there is no such pixel.
    """
    if not re.fullmatch(r"\d{1,12}", text_) or int(text_) >= session.scene.height * session.scene.width:
        raise Refused(f"There is no such pixel; ids go from 0 to {session.scene.height * session.scene.width - 1}.")
    return int(text_)


def bands_of(text_: str, session: Session) -> list[int] | None:
    """Return the bands of an address, by default those of the scene; None = principal components.

    Raises:
        Refused: They are no three bands of the scene.
    """
    if text_ == "pca":
        return None
    if not text_:
        return list(session.scene.colour_bands)
    if not re.fullmatch(r"\d{1,7},\d{1,7},\d{1,7}", text_):
        raise Refused("The bands are three numbers such as 29,19,9, or pca.")
    bands = [int(part) for part in text_.split(",")]
    if max(bands) >= session.scene.n_bands:
        raise Refused(f"The scene has the bands 0 to {session.scene.n_bands - 1}.")
    return bands


def contrast_of(text_: str) -> float:
    """Return the percentage that is cut off at either end.

    Raises:
        Refused: It is no number from 0 to 49.
    """
    if not re.fullmatch(r"\d{1,2}(\.\d{1,3})?", text_) or float(text_) > 49:
        raise Refused("The contrast is a percentage from 0 to 49.")
    return float(text_)


# Writing of answers.


def file_response(files: dict[str, Path], name: str, cached: str) -> Response:
    """Return a file of the page; names that aren't in the list never reach the disk."""
    if name not in files:
        raise Refused("There is no such file.", 404)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(files[name].read_bytes(), media_type=kind, headers={"cache-control": cached})


def classes_of(session: Session) -> list[Any]:
    """Return the classes by ascending value."""
    with session.lock:
        return [found for _, found in sorted(session.answers.classes.items())]


def place_of(session: Session, pixel: int) -> dict[str, int]:
    """Return id, row and column of a pixel."""
    row, column = divmod(int(pixel), session.scene.width)
    return {"pixel_id": int(pixel), "row": row, "column": column}


def state_of(session: Session) -> dict[str, Any]:
    """Return the state of a session, as the page shows it."""
    with session.lock:
        answers, map_, pixel = session.answers, session.map, session.query
        counts, classes = answers.counts(), classes_of(session)
        shares = {} if map_ is None else map_.shares([found.value for found in classes])
        agreements, assessment = session.agreements, answers.assessment
        advice = None
        if session.stable:
            advice = (
                f"The last {len(agreements[-3:])} maps hardly differ (kappa {min(agreements[-3:]):.3f} or more): more "
                "labels will change little. Look at the map, then assess its accuracy."
            )
        elif (untold := session.untold) >= MOSTLY_UNTOLD * LATEST:
            advice = (
                f'{untold} of the last {LATEST} answers were "can\'t tell": what is asked now is mostly none of your '
                "classes. If it is ground of one kind, add a class for it; else stop here and assess the map."
            )
        return {
            "query": None if pixel is None else place_of(session, pixel),
            "classes": [
                {
                    "value": found.value,
                    "name": found.name,
                    "key": found.key,
                    "colour": found.colour,
                    "n_labelled": counts[found.value],
                    "share": shares.get(found.value),
                }
                for found in classes
            ],
            "n_labelled": sum(counts.values()),
            "n_skipped": len(answers.given) - sum(counts.values()),
            "map_labels": 0 if map_ is None else map_.n_labelled,
            "map_version": 0 if map_ is None else map_.number,
            "map_current": session.map_current,
            "map_complete": map_ is not None and map_.complete,
            "map_seconds": None if map_ is None else round(time.monotonic() - map_.made, 1),
            "busy": session.busy,
            "version": answers.version,
            "round": len(answers.queries),
            "agreement": agreements[-1] if agreements else None,
            "stable": session.stable,
            "advice": advice,
            "can_undo": answers.can_undo,
            "can_redo": answers.can_redo,
            "problem": session.problem,
            "assessment": None
            if assessment is None
            else {
                "n": len(assessment.pixels),
                "answered": len(assessment.answers),
                "done": assessment.done,
            },
        }


def about_scene(session: Session) -> dict[str, Any]:
    """Return what the page needs to know about the scene."""
    scene = session.scene
    return {
        "name": scene.name,
        "height": scene.height,
        "width": scene.width,
        "n_bands": scene.n_bands,
        "tile_size": tiles.SIDE,
        "max_level": tiles.max_level(scene.height, scene.width),
        "wavelengths": None if scene.wavelengths is None else [round(float(nm), 3) for nm in scene.wavelengths],
        "gaps": gaps_of(scene),
        "rgb_bands": [int(band) for band in scene.colour_bands],
        "georeferenced": scene.georeference is not None,
        "uncertainty": session.planner.mapper.probable,
    }


def gaps_of(scene: Scene) -> list[int]:
    """Return the bands before which bands of the file were left out, where a spectrum is not to be joined."""
    if scene.bands is None:
        return []
    kept = scene.bands[: scene.n_bands]
    return [number for number in range(1, len(kept)) if kept[number] != kept[number - 1] + 1]


def about_pixel(session: Session, pixel: int) -> dict[str, Any]:
    """Return spectrum, label and prediction of a pixel; while an assessment asks for it, without the prediction."""
    has_data = session.has_data is None or bool(session.has_data[pixel])
    values = [float(value) for value in session.spectra([pixel])[0]] if has_data else [None] * session.scene.n_bands
    with session.lock:
        answer, map_, running = session.answers.given.get(pixel), session.map, session.answers.running
        blind = running is not None and pixel in running.pixels
        answer = running.answers.get(pixel) if running is not None and blind else answer
    shown = map_ if not blind else None
    predicted = None if shown is None else int(shown.classes[pixel]) or None
    probability = None if shown is None or shown.probability is None or not predicted else shown.probability[pixel]
    x, y = coordinates(session, pixel)
    return {
        **place_of(session, pixel),
        "values": values,
        "label": None if answer is None else answer.value,
        "predicted": predicted,
        "probability": None if probability is None else float(probability),
        "x": x,
        "y": y,
    }


def coordinates(session: Session, pixel: int) -> tuple[float | None, float | None]:
    """Return the map coordinates of a pixel's centre; None for a scene without georeference."""
    row, column = divmod(pixel, session.scene.width)
    found = session.scene.georeference
    return (None, None) if found is None else found.at(row + 0.5, column + 0.5)


def class_spectra(session: Session) -> list[dict[str, Any]]:
    """Return mean and standard deviation of the spectra of labelled pixels, class by class."""
    with session.lock:
        ids, values = session.answers.labelled()
    found = []
    for value in np.unique(values).tolist():
        mine = ids[values == value]
        pixels = mine[:: -(-len(mine) // MOST_SPECTRA)].tolist()  # of polygons some do
        spectra = session.spectra(pixels)
        found.append(
            {
                "value": value,
                "mean": spectra.mean(axis=0).tolist(),
                "std": spectra.std(axis=0).tolist(),
                "n": int((values == value).sum()),
            }
        )
    return found


def all_labels(session: Session) -> list[dict[str, Any]]:
    """Return the latest `MOST_LISTED` answers but those of assessments, and those doubted most, the newest first.

    Of more, some stand for all of a polygon or file of labels, so that it doesn't hide what was answered before.
    """

    def entry(pixel: int, answer: Answer) -> dict[str, Any]:
        value, doubt = doubts.get(pixel, (None, None))
        return {
            **place_of(session, pixel),
            "value": answer.value,
            "time": answer.time,
            "asked": answer.asked,
            "doubt": doubt if value == answer.value and value is not None else None,
        }

    with session.lock:
        given, doubts = dict(session.answers.given), session.doubts
    some = [*given]
    if len(given) > MOST_LISTED:
        sizes, seen, some = Counter(answer.number for answer in given.values()), Counter[int](), []
        for pixel, answer in given.items():
            if seen[answer.number] % math.ceil(sizes[answer.number] / MOST_OF_ONE) == 0:
                some.append(pixel)
            seen[answer.number] += 1

    def age(pixel: int) -> tuple[int, int]:
        return -given[pixel].number, pixel

    doubted = (pixel for pixel in doubts if pixel in given)
    listed = {
        *nsmallest(MOST_LISTED, some, key=age),
        *nlargest(MOST_DOUBTED, doubted, key=lambda pixel: doubts[pixel][1]),
    }
    return [entry(pixel, given[pixel]) for pixel in sorted(listed, key=age)]

"""Sessions on a tiny scene of four classes in quadrants."""

import asyncio
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from hsi_al.cli.composition import composed
from hsi_al.config.schema import Config
from hsi_al.label.guard import Guard
from hsi_al.label.server import build_app
from hsi_al.label.session import Session
from hsi_al.scenes.georeference import Georeference
from hsi_al.scenes.scene import Scene
from tests.fakes import gaussian_cube

SIDE = 24
TOKEN, PORT = "secret-token", 8123
HEADERS = {"x-token": TOKEN, "host": f"127.0.0.1:{PORT}"}
MASKED = 5  # pixel id without data
TRUTH = gaussian_cube(SIDE, 6)[1] + 1
# A grid of 10 m pixels, in a system whose WKT names its unit.
UTM = (
    'PROJCS["WGS 84 / UTM zone 32N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],PARAMETER["scale_factor",0.9996],'
    'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1],AUTHORITY["EPSG","32632"]]'
)
WHERE = Georeference(UTM, (10.0, 0.0, 500000.0, 0.0, -10.0, 5400000.0))


@cache
def config_of(*overrides: str) -> Config:
    """The settings of a session whose model takes milliseconds."""
    defaults = ["protocol=few", "learner=lda", "acquisition=margin", "trainer.threads=1"]
    return composed([*defaults, "protocol.initial_size=8", "protocol.query_size=4", *overrides])[0]


@cache
def scene_of(masked: bool = True, georeferenced: bool = False) -> Scene:
    """A scene without ground truth, one pixel of which has no data."""
    cube, _ = gaussian_cube(SIDE, 6)
    no_data = np.zeros((SIDE, SIDE), bool)
    no_data.flat[MASKED] = masked
    truth = np.zeros((SIDE, SIDE), np.uint8)
    scene = Scene("tiny", cube, truth, {}, wavelengths=np.linspace(450, 900, 6), no_data=no_data)
    return replace(scene, georeference=WHERE) if georeferenced else scene


def session_in(folder: Path, *classes: str, scene: Scene | None = None, **options: Any) -> Session:
    folder.mkdir(exist_ok=True)
    session = Session(folder, scene or scene_of(), options.pop("config", None) or config_of(), **options)
    for name in classes:
        if name not in {found.name for found in session.answers.classes.values()}:
            session.add_class(name)
    return session


def answer_all(session: Session) -> None:
    """Answer the open query as the truth says."""
    while session.open_pixels and session.query is not None:
        session.answer(session.query, int(TRUTH[session.query]))


def taught(folder: Path, queries: int = 2, **options: Any) -> Session:
    """A session after some complete queries, with a map that knows all labels."""
    session = session_in(folder, "corn", "oats", "wheat", "pond", **options)
    for _ in range(queries):
        session.learn()
        answer_all(session)
    session.learn()
    return session


class Client:
    """A client of a session's application behind the guard, by default with the right token and host."""

    def __init__(self, session: Session, web: Path | None = None) -> None:
        self.app: Any = Guard(build_app(session) if web is None else build_app(session, web), PORT, TOKEN)

    def __call__(self, method: str, path: str, headers: dict[str, str] = HEADERS, **options: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}") as client:
                return await client.request(method, path, headers=headers, **options)

        return asyncio.run(call())

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self("POST", path, json=given)

"""The routes of the viewer: the page, what it shows as JSON and arrays, and the pixels."""

import asyncio
import importlib.resources
import json
import mimetypes
import re
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asmil.errors import AsmilError, NotOfferedError, RunError
from asmil.figures import EVEN_MAP, EVIDENCE_MAP, colour_stops, tile_scores_geojson
from asmil.files import Facts
from asmil.machine import cores
from asmil.runs import Cell
from asmil.viewer.pyramid import TILE_PX, Pyramid
from asmil.viewer.said import Outlines
from asmil.viewer.serving import Guard, refusal
from asmil.viewer.session import View
from asmil.viewer.views import RunView, heading, shapes, slide_facts, slide_rows, training

KEEP = {"cache-control": "private, max-age=3600"}
ASK_AGAIN = {"cache-control": "no-cache"}
MOST_BYTES = 1 << 20
"""Of what the page says to the server at once."""
Answer = Callable[[Request], Response]
Taker = Callable[[Request, Facts], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(views: Sequence[View], *, pyramid: Pyramid, hosts: Sequence[str] = ()) -> Guard:
    """The viewer of some runs or predictions, the first of them shown first, as an ASGI application.

    No address holds a path or a name: runs, slides, tiles and layers are numbers and words of the runs' own tables,
    and what is not among them is answered by 404. Verdicts and outlines are taken from the page itself only: by this
    machine, and with the word that every page gets with its runs.

    Args:
        hosts: names under which the machine may be addressed, beside localhost and any IP address.
    """
    pages = _Pages(views, pyramid)
    # As many threads as there are cores work; whoever comes later waits without one. Pixels do not delay data.
    pixels, data = asyncio.Semaphore(cores()), asyncio.Semaphore(2)
    slide = "/api/{run}/{number}"
    routes = [
        Route("/", _static("index.html")),
        *(Route(f"/static/{name}", _static(name)) for name in _static_names()),
        Route("/api/runs", _worker(pages.runs, data)),
        Route("/api/{run}/slides", _worker(pages.slides, data)),
        Route("/api/{run}/unrest", _worker(pages.unrest, data)),
        Route(slide, _worker(pages.facts, data)),
        Route(slide + "/tiles", _worker(pages.tiles, data)),
        Route(slide + "/verdict", _taker(pages.say, data, token=pages.token), methods=["PUT"]),
        Route(slide + "/outlines", _worker(pages.outlines, data)),
        Route(slide + "/outlines", _taker(pages.draw, data, token=pages.token), methods=["POST"]),
        Route(slide + "/outlines/{outline}", _taker(pages.erase, data, token=pages.token), methods=["DELETE"]),
        Route(slide + "/annotations", _worker(pages.annotations, data)),
        Route(slide + "/layer/{layer}", _worker(pages.layer, data)),
        Route(slide + "/rows/{fold}-{seed}", _worker(pages.rows, data)),
        Route(slide + "/training/{fold}-{seed}", _worker(pages.training, data)),
        Route(slide + "/geojson/{layer}", _worker(pages.geojson, data)),
        Route(slide + "/pixels/{level}/{x}_{y}.jpg", _worker(pages.pixels, pixels)),
        Route(slide + "/region/{x}_{y}_{side}.jpg", _worker(pages.region, pixels)),
        Route(slide + "/thumbnail.jpg", _worker(pages.thumbnail, pixels)),
    ]
    return Guard(Starlette(routes=routes), hosts=hosts)


def _worker(answer: Answer, turn: asyncio.Semaphore) -> Endpoint:
    """An endpoint that answers in a thread when it is its turn, and not at all if nobody waits for it any more."""

    async def endpoint(request: Request) -> Response:
        async with turn:
            if await request.is_disconnected():
                return Response(status_code=499)
            try:
                return await run_in_threadpool(answer, request)
            except AsmilError as error:
                return _refused(error)
            except OSError as error:  # a full disk, a folder that cannot be written to
                return _refused(RunError("nothing was kept", found=error, fix="free the place it is written to"))

    return endpoint


def _refused(error: AsmilError, status: int | None = None) -> Response:
    said = {"what": error.what, "found": error.found and str(error.found), "fix": error.fix}
    status = status or (404 if isinstance(error, NotOfferedError) else 422)
    return JSONResponse(said, status_code=status, headers=ASK_AGAIN)


def _taker(take: Taker, turn: asyncio.Semaphore, *, token: str) -> Endpoint:
    """An endpoint that takes plain values as JSON, from the page alone."""

    async def endpoint(request: Request) -> Response:
        if (why := refusal(request, token)) is not None:
            return _refused(why, 403)
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BYTES:
                return _refused(RunError("this is too much to keep", found=f"more than {MOST_BYTES:,} bytes"), 413)
        try:
            said = json.loads(body or b"{}")
            json.dumps(said, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # a browser sends one where a text was cut to its length within an emoji
            return _refused(RunError("nothing was kept", found="half of a sign in the text", fix="leave it out"))
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            return _refused(RunError("nothing was kept", found="what is no object in JSON"))
        return await _worker(lambda asked: take(asked, said), turn)(request)

    return endpoint


def _static_names() -> list[str]:
    return [file.name for file in (importlib.resources.files("asmil.viewer") / "static").iterdir() if file.is_file()]


def _static(name: str) -> Endpoint:
    kind = mimetypes.types_map.get(Path(name).suffix, "text/plain")
    kind = "text/javascript" if name.endswith(".js") else kind

    async def endpoint(request: Request) -> Response:
        content = (importlib.resources.files("asmil.viewer") / "static" / name).read_bytes()
        return Response(content, media_type=kind, headers=ASK_AGAIN)

    return endpoint


class _Pages:
    """One method per route."""

    def __init__(self, views: Sequence[View], pyramid: Pyramid):
        self.token = secrets.token_urlsafe(16)
        self._views, self._pyramid = {view.token: view for view in views}, pyramid

    def _view(self, request: Request) -> View:
        token = request.path_params["run"]
        if token not in self._views:
            raise NotOfferedError("no such run is open", fix="load the page again")
        return self._views[token]

    def _slide(self, request: Request) -> tuple[View, str]:
        view = self._view(request)
        return view, view.slide(*_numbers(request, "number"))

    def _trained(self, request: Request) -> tuple[RunView, str, Cell]:
        view, slide = self._slide(request)
        if not isinstance(view, RunView):
            raise NotOfferedError("predictions of new slides have no models of their own")
        return view, slide, view.layers.cell([request.path_params[name] for name in ("fold", "seed")])

    def runs(self, request: Request) -> Response:
        colours = {"attention": colour_stops(n=256), "disagreement": colour_stops("viridis", n=256)}
        colours |= {"evidence": colour_stops(EVIDENCE_MAP, n=256), "even": colour_stops(EVEN_MAP, n=3)[1:2] * 256}
        runs = [heading(view) for view in self._views.values()]
        said = {"runs": runs, "colours": colours, "tile_px": TILE_PX, "token": self.token}
        return _json(said | {"writes": refusal(request, self.token) is None})

    def slides(self, request: Request) -> Response:
        return _json(slide_rows(self._view(request)))

    def unrest(self, request: Request) -> Response:
        view = self._view(request)
        return _json([view.layers.unrest(slide) for slide in view.slides])

    def facts(self, request: Request) -> Response:
        return _json(slide_facts(*self._slide(request)))

    def tiles(self, request: Request) -> Response:
        """Corners int32 (tiles, 2), then truth uint8 (tiles,); little-endian."""
        view, slide = self._slide(request)
        corners, truth = view.sheet(slide).level0_xy, view.truth(slide)
        return _binary(corners.astype("<i4").tobytes() + truth.tobytes())

    def annotations(self, request: Request) -> Response:
        return _json(shapes(*self._slide(request)))

    def say(self, request: Request, said: Facts) -> Response:
        view, slide = self._slide(request)
        return _json(view.verdicts.say(slide, said, rows=view.said_of(), classes=view.classes))

    def _drawn(self, request: Request) -> Outlines:
        view, slide = self._slide(request)
        sheet = view.sheet(slide)
        if sheet.unit != "px":
            raise RunError(
                "outlines are in level-0 pixels",
                found="coordinates in micrometres only",
                fix="give --slides so that micrometres become pixels",
            )
        return Outlines(view.folder, slide, size=sheet.picture.size, bounds=view.bounds(slide))

    def outlines(self, request: Request) -> Response:
        return _json(self._drawn(request).read())

    def draw(self, request: Request, said: Facts) -> Response:
        name, ring = said.get("class"), said.get("ring")
        if not isinstance(name, str) or not 0 < len(name) <= 100 or not isinstance(ring, list):
            raise RunError("an outline needs a class and corners", found=str(name)[:40])
        return _json(self._drawn(request).add(name, ring))

    def erase(self, request: Request, said: Facts) -> Response:
        return _json(self._drawn(request).remove(request.path_params["outline"]))

    def layer(self, request: Request) -> Response:
        """Values float32 (tiles,), little-endian."""
        view, slide = self._slide(request)
        return _binary(view.values(slide, request.path_params["layer"]).astype("<f4").tobytes())

    def rows(self, request: Request) -> Response:
        view, slide, cell = self._trained(request)
        return _json(view.layers.heads.shape(cell, slide))

    def training(self, request: Request) -> Response:
        view, slide, cell = self._trained(request)
        return _json(training(view, cell, slide))

    def geojson(self, request: Request) -> Response:
        view, slide = self._slide(request)
        layer, sheet = request.path_params["layer"], view.sheet(slide)
        if layer == "disagreement" or sheet.unit != "px":
            raise RunError(
                "GeoJSON holds attention at level-0 pixels",
                found="the disagreement of seeds" if layer == "disagreement" else "coordinates in micrometres only",
                fix="choose a layer of attention; give --slides so that micrometres become pixels",
            )
        evidence = None
        if layer.startswith("evidence-"):  # beside the attention that it goes with, and for all classes
            view.values(slide, layer)
            evidence = dict(zip(view.classes, view.layers.evidence(slide).T, strict=True))
            layer = "mean"
        values = view.values(slide, layer).astype(np.float64)
        with tempfile.TemporaryDirectory() as folder:
            path = tile_scores_geojson(
                Path(folder, "tiles.geojson"),
                sheet.level0_xy,
                values,
                tile_level0_px=sheet.side,
                evidence=evidence,
                bounds=view.bounds(slide),
            )
            return Response(path.read_bytes(), media_type="application/geo+json", headers=ASK_AGAIN)

    def pixels(self, request: Request) -> Response:
        view, slide = self._slide(request)
        level, x, y = _numbers(request, "level", "x", "y")
        return _jpeg(self._pyramid.tile(view.sheet(slide).picture, level, (x, y)))

    def region(self, request: Request) -> Response:
        view, slide = self._slide(request)
        x, y, side = _numbers(request, "x", "y", "side")
        return _jpeg(self._pyramid.region(view.sheet(slide).picture, (x, y), side))

    def thumbnail(self, request: Request) -> Response:
        view, slide = self._slide(request)
        picture = view.picture(slide)
        # the slide is opened only where the run kept no thumbnail; one that cannot be read is white
        return _jpeg(self._pyramid.thumbnail(picture if picture.thumbnail else view.sheet(slide).picture))


def _numbers(request: Request, *names: str) -> list[int]:
    """Whole numbers of an address; what is none, or longer than any number of a slide, is not there."""
    texts = [request.path_params[name] for name in names]
    if wrong := [text for text in texts if not re.fullmatch(r"-?[0-9]{1,9}", text)]:
        raise NotOfferedError("there is no such place", found=wrong[0][:40])
    return [int(text) for text in texts]


def _json(value: object) -> Response:
    return JSONResponse(value, headers=ASK_AGAIN)


def _binary(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream", headers=ASK_AGAIN)


def _jpeg(content: bytes) -> Response:
    return Response(content, media_type="image/jpeg", headers=KEEP)

"""What the server answers: the page, the clips by number, and what is done to them."""

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jmpose_cli.choices import SUSPECT_KINDS
from jmpose_cli.clips.operations import Operation, operation_in
from jmpose_cli.errors import JmposeError
from jmpose_cli.review.clip import ReviewClip, StaleError
from jmpose_cli.review.estimate import Estimator, request_in
from jmpose_cli.text import to_json

_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOST_OPERATIONS = 1000
_Act = Callable[[Request, dict[str, Any]], Any]


def make_app(clips: Sequence[ReviewClip], estimator: Estimator) -> Starlette:
    """Return the application; nothing in it guards against strangers, see `guard.Guard`.

    Args:
        clips: The page knows them by their place.
        estimator: Asked for poses.
    """
    page = _page_files()

    def index(_: Request) -> Response:
        return page["index.html"]()

    def page_file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in page:
            raise HTTPException(404)
        return page[name]()

    def listing(_: Request) -> Response:
        return _json([{"number": number, "name": clip.name} for number, clip in enumerate(clips)])

    def of(request: Request) -> ReviewClip:
        number: int = request.path_params["clip"]
        if number >= len(clips):
            raise HTTPException(404, f"there is no clip {number}")
        return clips[number]

    def frame(request: Request) -> Response:
        return Response(of(request).image(request.path_params["frame"]), media_type="image/jpeg")

    def turned(change: Callable[[ReviewClip, dict[str, Any]], dict[str, Any]]) -> _Act:
        """Return what makes a change, and answers with it and the poses of the frame that is looked at."""

        def answer(request: Request, body: dict[str, Any]) -> Any:
            clip, frame = of(request), body.get("frame")
            changed = change(clip, body)
            return changed | ({"here": clip.poses(frame, frame + 1)["frames"]} if type(frame) is int else {})

        return answer

    def render(request: Request, _: dict[str, Any]) -> Any:
        return {"notes": of(request).render()}

    def fix(clip: ReviewClip, body: dict[str, Any]) -> dict[str, Any]:
        kind = body.get("kind")
        if kind not in SUSPECT_KINDS:
            raise JmposeError(f"there is no kind {kind!r:.80} of suspects", hint=f"allowed: {', '.join(SUSPECT_KINDS)}")
        return clip.fix_all(kind, _revision(body))

    def soon(request: Request, body: dict[str, Any]) -> Any:
        frames = body.get("frames")
        if not isinstance(frames, list) or not all(type(one) is int for one in frames):
            raise JmposeError("frames: not a list of numbers")
        of(request).want_soon(frames)
        return {}

    def estimate(request: Request, body: dict[str, Any]) -> Any:
        return {"operation": of(request).estimate(estimator, request_in(body)).model_dump(exclude_none=True)}

    clip = "/api/clips/{clip:int}"
    return Starlette(
        routes=[
            Route("/", index),
            Route("/page/{name}", page_file),
            Route("/api/clips", listing),
            Route("/api/clips/progress", lambda _: _json([one.progress() for one in clips])),
            Route(clip, lambda request: _json(of(request).summary())),
            Route(f"{clip}/poses", lambda r: _json(of(r).poses(_number(r, "first"), _number(r, "end")))),
            Route(f"{clip}/changes", lambda r: _json(of(r).changes(_number(r, "since")))),
            Route(
                f"{clip}/suspects",
                lambda r: _json(of(r).suspects(_number(r, "most") if "most" in r.query_params else None)),
            ),
            Route(f"{clip}/frames/{{frame:int}}", frame),
            _post(
                f"{clip}/operations",
                turned(lambda clip, body: clip.do(_operations(body.get("operations")), _revision(body))),
            ),
            _post(f"{clip}/undo", turned(lambda clip, body: clip.undo(_revision(body)))),
            _post(f"{clip}/redo", turned(lambda clip, body: clip.redo(_revision(body)))),
            _post(f"{clip}/fix", turned(fix)),
            _post(f"{clip}/estimate", estimate),
            _post(f"{clip}/render", render),
            _post(f"{clip}/soon", soon),
        ],
        exception_handlers={JmposeError: _failed, HTTPException: _refused},
    )


def _page_files() -> dict[str, Callable[[], Response]]:
    """Return what answers with each file of the page: names that the page asks for are looked up, never opened."""

    def answer(content: bytes, kind: str) -> Callable[[], Response]:
        return lambda: Response(content, media_type=kind)

    found = {}
    for file in files("jmpose_cli.review").joinpath("page").iterdir():
        kind = _TYPES.get(f".{file.name.rpartition('.')[2]}")
        if kind is not None:
            found[file.name] = answer(file.read_bytes(), kind)
    return found


def _post(path: str, act: _Act) -> Route:
    """Return a route that takes a JSON object and gives one."""

    async def endpoint(request: Request) -> Response:
        try:
            body = orjson.loads(await request.body() or b"{}")
        except orjson.JSONDecodeError as error:
            raise JmposeError(f"not JSON: {error}") from error
        if not isinstance(body, dict):
            raise JmposeError("not a JSON object")
        return _json(await run_in_threadpool(act, request, body))

    return Route(path, endpoint, methods=["POST"])


def _operations(given: Any) -> list[Operation]:
    if not isinstance(given, list) or not 0 < len(given) <= MOST_OPERATIONS:
        raise JmposeError("operations: not a list", hint=f"send 1 to {MOST_OPERATIONS} of them")
    return [operation_in(to_json(one)) for one in given]


def _revision(body: dict[str, Any]) -> int:
    revision = body.get("revision")
    if type(revision) is not int:
        raise JmposeError("revision: not a number", hint="send the revision that the last answer gave")
    return revision


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise JmposeError(f"{name}={text:.40}: not a number", hint="send a whole number from 0")
    return int(text)


def _json(document: Any, status: int = 200) -> Response:
    return Response(to_json(document), status, media_type="application/json")


def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, JmposeError)
    return _json({"error": error.message, "hint": error.hint}, 409 if isinstance(error, StaleError) else 422)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json({"error": error.detail, "hint": ""}, error.status_code)

"""The control socket: how commands speak with the process that runs a local cluster.

HTTP over ``control.sock`` in the state directory, for its own user alone. Answers are JSON; what
cannot be done is ``{"error": sentence}``.

::

    GET  /overview                      what `cachectl status -o json` prints
    GET  /objects/<plural>?namespace=   the objects of a kind
    POST /apply   {"objects": [...]}    {"results": [{"object", "outcome"}...], "error": or null}
    POST /delete  {"kind": plural, "name", "namespace"}    {"found": bool}
    POST /stop                          answers at once; then everything ends
"""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from cache_ctl.api.kinds import KINDS, SECRET, kind_of, name_of
from cache_ctl.errors import ControlError, InvalidInput, Unreadable
from cache_ctl.local.control_socket import HIDDEN, SOCKET, short_path
from cache_ctl.local.overview import overview

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from cache_ctl.api.kinds import Kind, Resource
    from cache_ctl.local.world import LocalWorld

_log = logging.getLogger(__name__)
DELETE_SECONDS: Final = 60.0
_LARGEST_REQUEST: Final = 256 << 20
_CLOSING_SECONDS: Final = 0.5
_BY_PLURAL: Final = {kind.plural: kind for kind in KINDS}


@contextlib.asynccontextmanager
async def controlled(world: LocalWorld, *, stop: asyncio.Event) -> AsyncIterator[None]:
    """Serve the control socket of a running world for the time of the block.

    ``stop`` is set when somebody asks for the end.
    """
    control = _Control(world, stop)
    app = web.Application(client_max_size=_LARGEST_REQUEST, middlewares=[_sentences])
    app.router.add_get("/overview", control.overview)
    app.router.add_get("/objects/{plural}", control.objects)
    app.router.add_post("/apply", control.apply)
    app.router.add_post("/delete", control.delete)
    app.router.add_post("/stop", control.stop)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING_SECONDS)
    await runner.setup()
    path = world.state_dir / SOCKET
    try:
        await web.SockSite(runner, _private_socket(world.state_dir)).start()
        yield
    finally:
        await runner.cleanup()
        path.unlink(missing_ok=True)


def _private_socket(folder: Path) -> socket.socket:
    """Return a socket bound in ``folder``; nobody can connect before its mode is set.

    A socket that lies there is stale, as the state directory is locked.

    Raises:
        Unreadable: the folder takes no socket.
    """
    (folder / SOCKET).unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(folder, SOCKET) as path:
            bound.bind(path)
        (folder / SOCKET).chmod(0o600)
    except OSError as error:
        bound.close()
        raise Unreadable(
            f"state directory {folder}: no socket can be made in it ({error.strerror}); choose "
            "another one"
        ) from error
    return bound


class _Control:
    """The handlers."""

    def __init__(self, world: LocalWorld, stop: asyncio.Event) -> None:
        self._world = world
        self._stop = stop

    async def overview(self, _: web.Request) -> web.Response:
        return web.json_response(overview(self._world))

    async def objects(self, request: web.Request) -> web.Response:
        kind = _kind(request.match_info["plural"])
        namespace = request.query.get("namespace", "")
        found = await self._world.cluster.list(kind, namespace=namespace)
        return web.json_response([_shown(kind, body) for body in found])

    async def apply(self, request: web.Request) -> web.Response:
        """Apply objects until one is refused; say what became of each until then."""
        results: list[dict[str, str]] = []
        try:
            for body in await _objects_in(request):
                outcome = await self._world.apply_one(body)
                kind = kind_of(body)
                results.append(
                    {"object": f"{kind.resource if kind else ''}/{name_of(body)}"}
                    | {"outcome": outcome}
                )
        except ControlError as error:
            return web.json_response({"results": results, "error": str(error)})
        return web.json_response({"results": results, "error": None})

    async def delete(self, request: web.Request) -> web.Response:
        asked = await request.json()
        found = await self._world.delete_wholly(
            _kind(str(asked.get("kind"))),
            str(asked.get("name")),
            str(asked.get("namespace") or ""),
            seconds=DELETE_SECONDS,
        )
        return web.json_response({"found": found})

    async def stop(self, _: web.Request) -> web.Response:
        self._stop.set()
        return web.json_response({})


def _kind(plural: str) -> Kind:
    kind = _BY_PLURAL.get(plural)
    if kind is None:
        raise InvalidInput(f"{plural} is no kind that is known here")
    return kind


async def _objects_in(request: web.Request) -> list[Resource]:
    asked: Any = await request.json()
    found = asked.get("objects") if isinstance(asked, dict) else None
    if not isinstance(found, list) or not all(
        isinstance(body, dict) and isinstance(body.get("metadata"), dict) for body in found
    ):
        raise InvalidInput("the request needs objects with metadata")
    return found


def _shown(kind: Kind, body: Resource) -> Resource:
    """Return an object as it may be shown: of a Secret the keys, not their values."""
    if kind is not SECRET:
        return body
    metadata = dict(body["metadata"])
    if annotations := metadata.get("annotations"):  # kubectl keeps a copy of the data in one
        metadata["annotations"] = dict.fromkeys(annotations, HIDDEN)
    return {**body, "metadata": metadata, "data": dict.fromkeys(body.get("data") or {}, HIDDEN)}


@web.middleware
async def _sentences(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer errors as a sentence."""
    try:
        return await handler(request)
    except (ControlError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=422)
    except web.HTTPException as error:
        return web.json_response({"error": f"{error.reason}: {request.path}"}, status=error.status)
    except Exception:  # noqa: BLE001  whoever asked is to get an answer
        _log.exception("%s %s failed", request.method, request.path)
        text = "the running cluster could not answer; its log says more"
        return web.json_response({"error": text}, status=500)

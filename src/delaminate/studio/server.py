"""The server of the studio: the app behind its doors, and how it is started."""

import asyncio
import logging
import os
import secrets
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from delaminate import __version__
from delaminate.errors import (
    ConfigError,
    ConflictError,
    DelaminateError,
    MissingExtra,
    OutputError,
)

try:
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, Response
    from fastapi.staticfiles import StaticFiles
    from starlette.exceptions import HTTPException
except ImportError as error:
    raise MissingExtra("the studio", "studio") from error

from delaminate.studio.api import (
    events,
    exports,
    images,
    imports,
    jobs,
    models,
    places,
    projects,
    scenes,
    sprites,
    tracks,
)
from delaminate.studio.doors import Doors, hosts_of
from delaminate.studio.pictures import PictureCache
from delaminate.studio.texts import without_places
from delaminate.studio.workspace import Workspace, home_folder

PAGE = Path(__file__).parent / "page"
PORT = 8712
MAX_CLIENTS = 128
SILENT: Any = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False}
"""Nothing of what happens here is told to anybody, whatever the environment asks for."""
log = logging.getLogger("delaminate.studio")


def create_app(workspace: Workspace) -> FastAPI:
    """Make the app, without its doors.

    Args:
        workspace: What it serves.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        workspace.start()
        watching = asyncio.create_task(events.watch_jobs(workspace))
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await asyncio.to_thread(workspace.close)

    app = FastAPI(
        title="Delaminate studio", version=__version__, lifespan=life, docs_url=None, redoc_url=None,
        openapi_url="/api/openapi.json", telemetry=SILENT,
    )  # fmt: skip
    app.state.workspace, app.state.pictures = workspace, PictureCache()
    for part in (projects, scenes, tracks, sprites, images, jobs, exports, imports, models, places, events):
        app.include_router(part.api)
    for kind, answer in (
        (DelaminateError, refused), (RequestValidationError, invalid), (HTTPException, failed), (Exception, broken)
    ):  # fmt: skip
        app.add_exception_handler(kind, answer)  # type: ignore[arg-type]
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def status_of(error: DelaminateError) -> int:
    """The status that says what kind of a refusal it is."""
    if isinstance(error, ConflictError):
        return 409
    if isinstance(error, OutputError):
        return 507
    return 404 if isinstance(error, ConfigError) and str(error).startswith("no ") else 422


async def refused(request: Request, error: DelaminateError) -> Response:
    """Answer with one of our own errors."""
    return JSONResponse({"error": without_places(" ".join(str(error).split()))[:1000]}, status_of(error))


async def invalid(request: Request, error: RequestValidationError) -> Response:
    """Say what of a request is not as expected."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": without_places(f"{where}: {first['msg']}")[:1000]}, 422)


async def failed(request: Request, error: HTTPException) -> Response:
    """Answer what the framework refuses, in the same form."""
    return JSONResponse({"error": without_places(str(error.detail))}, error.status_code, headers=error.headers)


async def broken(request: Request, error: Exception) -> Response:
    """Say nothing of a fault but where in the log it is told."""
    number = secrets.token_hex(4)
    log.error("fault %s: %s %s", number, request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": f"Something went wrong in the studio; its log tells more under {number}."}, 500)


def find_socket(host: str, port: int | None) -> socket.socket:
    """Listen on a port: the one that is asked for, else the studio's own, else any that is free.

    Raises:
        OutputError: It is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for each in (PORT, 0) if port is None else (port,):
        # With the protocol named, asyncio sends each part of an answer at once; else each answer waits 40 ms for the
        # browser to acknowledge its first part.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, each))
            found.listen()  # at once: until then, another studio that starts may be bound to the same port
        except OSError as error:
            found.close()
            problem = error
            continue
        return found
    raise OutputError(
        f"studio: cannot listen on {host}, port {port or PORT} ({problem.strerror or problem}). Choose others."
    ) from problem


def serve(
    given: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    home: Path | None = None,
    framed: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the studio until it is interrupted.

    Args:
        given: What to open: scenes, a run, a model, images; None: the list of projects.
        host: An address of this machine; others than 127.0.0.1 let other machines ask.
        port: Where to listen; None: 8712, or any that is free.
        browser: Open a browser.
        home: Where the studio keeps what it knows; None: DELAMINATE_STUDIO, or the user's folder for data.
        framed: Notebooks of this machine may show it in a frame.
        say: Tells what is said to the person.

    Raises:
        ConfigError: What is given can not be opened.
        OutputError: The port is taken.
    """
    workspace = Workspace(home or home_folder())
    opened = None if given is None else workspace.open_given(given)
    listening = find_socket(host, port)
    number = listening.getsockname()[1]
    doors = Doors(create_app(workspace), hosts_of(host), number, framed)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{number}/?token={doors.token}" + (f"&project={opened.id}" if opened is not None else "")
    say(f"The studio is at {address}\nThe address opens it once. Ctrl-C ends it; jobs go on.")
    if browser:
        with suppress(webbrowser.Error):
            webbrowser.open(address)
    config = uvicorn.Config(
        doors, log_level="warning", access_log=False, limit_concurrency=MAX_CLIENTS, timeout_keep_alive=30, lifespan="on",
        server_header=False, timeout_graceful_shutdown=3,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])

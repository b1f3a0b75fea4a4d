"""What the server tells: changes of scenes, progress of jobs, as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from delaminate.studio.api.common import Space, router
from delaminate.studio.api.jobs import described
from delaminate.studio.workspace import Workspace

api = router("events")
HEARTBEAT = 15.0
LOOK = 1.0
"""Seconds between two looks at jobs, while somebody listens."""


@api.get(
    "/events",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def listen(space: Space, request: Request) -> Response:
    """Listen. Each event is one JSON object with a `type`:

    - `change`: project, revision, scenes (ids; null: maybe all), sprites (ids; null: some came or went)
    - `saved`: project, revision; `problem`: project (files could not be saved; the project says why)
    - `project`: the list of projects has changed; `job`: job, as `GET /api/jobs/{job}` answers
    - `recognition`: project (its images have been looked at); `reload`: load everything again
    """
    queue = space.listen()
    return StreamingResponse(told(space, queue), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def told(space: Workspace, queue: "asyncio.Queue[dict[str, Any]]") -> AsyncIterator[str]:
    """Turn events into lines; a comment now and then shows that the line is open."""
    try:
        yield ": hello\n\n"
        while not space.ending:
            try:
                event = await asyncio.wait_for(queue.get(), HEARTBEAT)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if event["type"] == "end":
                return
            yield f"data: {json.dumps(event)}\n\n"
    finally:
        space.leave(queue)


async def watch_jobs(space: Workspace) -> None:
    """Tell of jobs whenever something about one has changed, for as long as the server runs."""
    known: dict[str, dict[str, Any]] = {}
    while True:
        await asyncio.sleep(LOOK)
        if not space.listeners:
            continue
        for job in await run_in_threadpool(described, space):
            if known.get(job["id"]) != job:
                known[job["id"]] = job
                space.publish({"type": "job", "job": job})

"""What all routes share: the workspace, refusals, pictures, strict models."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from delaminate.studio.pictures import PictureCache
from delaminate.studio.workspace import Workspace


class Strict(BaseModel):
    """A model that takes no other keys, and converts no types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(Strict):
    """A refusal, in one line for people."""

    error: str


async def workspace_of(request: Request) -> Workspace:
    """The workspace of the server. (Awaited, as is `cache_of`: others are called in a thread, which takes longer.)"""
    found: Workspace = request.app.state.workspace
    return found


async def cache_of(request: Request) -> PictureCache:
    """The pictures that the server keeps."""
    found: PictureCache = request.app.state.pictures
    return found


Space = Annotated[Workspace, Depends(workspace_of)]
Pictures = Annotated[PictureCache, Depends(cache_of)]
Id = Annotated[str, Path(max_length=40, pattern=r"^[0-9a-f]+$", description="An id that a list has given.")]
Offset = Annotated[int, Query(ge=0, le=2**31)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Side = Annotated[int, Query(ge=1, le=16384, description="The longest side of the picture in pixels, at most.")]
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": about}
    for status, about in {
        400: "No request that can be read.",
        401: "Without the session's cookie.",
        403: "From another page.",
        404: "There is no such thing.",
        409: "Somebody else was first.",
        413: "Too large.",
        422: "Cannot be done, or is not what was expected.",
        500: "A fault of the studio.",
        507: "The disk is full.",
    }.items()
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
BYTES = {"requestBody": {"required": True, "content": {"application/octet-stream": BINARY}}}
PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}


def router(noun: str) -> APIRouter:
    """A router whose routes say how they refuse."""
    return APIRouter(prefix="/api", tags=[noun], responses=REFUSALS)


def picture_answer(request: Request, tag: str, make: Callable[[], bytes]) -> Response:
    """Answer with a picture, or that the browser has it; only then it is made."""
    headers = {"etag": f'"{tag}"', "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type="image/png", headers=headers)

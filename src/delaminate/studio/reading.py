"""Files that people send are decoded in a process of its own, with bounds on time and memory.

`Reader` asks; the same module, run as a program, answers. A process that takes too long, too much, or dies on a file is
replaced, and the file is refused.
"""

import json
import os
import stat
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from delaminate.errors import DataError, DelaminateError

MEMORY = 3 * 2**30
"""Bytes that decoding may take, beyond what the process takes by itself."""
SECONDS = 60.0
MAX_ENTRIES = 20_000
"""Of a zip."""
MAX_ENTRY, MAX_UNPACKED, MAX_RATIO = 2**28, 2**32, 200
"""Bytes of a file in a zip, of all, and how much larger they may be than the zip."""
CHUNK = 2**20


class Reader:
    """A process that decodes, started when it is first asked."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, do: str, seconds: float = SECONDS, **given: Any) -> dict[str, Any]:
        """Let the process do something.

        Args:
            do: A name of DOINGS.
            seconds: How long it may take.
            given: Its arguments.

        Raises:
            DataError: The file cannot be read, or takes too much.
        """
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self._stop()
                self._start()
            assert self.process is not None and self.process.stdin is not None
            try:
                self.process.stdin.write(json.dumps({"do": do, **given}).encode() + b"\n")
                self.process.stdin.flush()
                answer = self._answer(seconds)
            except (OSError, ValueError):
                answer = None
            if answer is None:
                self._stop()
                raise DataError("a file could not be read within the time and memory that one file may take.")
        if "error" in answer:
            raise DataError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process, once what it was asked is answered."""
        with self.lock:
            self._stop()

    def end(self) -> None:
        """End the process now; whoever waits for an answer gets a refusal."""
        if self.process is not None:
            self.process.kill()
        self.close()

    def _start(self) -> None:
        command = [sys.executable, "-m", "delaminate.studio.reading"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        if self._answer(120) is None:  # it says when it is ready
            self._stop()
            raise DataError("what decodes pictures does not start.")

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """The next line; None: there is none in time."""
        assert self.process is not None and self.process.stdout is not None
        found: list[bytes] = []
        reading = threading.Thread(target=lambda stream: found.append(stream.readline()), args=(self.process.stdout,))
        reading.start()
        reading.join(seconds)
        if reading.is_alive():
            self.process.kill()  # so that the thread ends
            reading.join()
            return None
        if not found or not found[0].endswith(b"\n"):
            return None
        answer: dict[str, Any] = json.loads(found[0])
        return answer

    def _stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            self.process = None


def suffix_of(head: bytes) -> str | None:
    """Say by its first bytes what a file is, as a suffix; None: nothing that we read.

    >>> suffix_of(b"GIF89a"), suffix_of(b"hello")
    ('.gif', None)
    """
    if head[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(head[8:12])
    if head[4:8] in (b"ftyp", b"moov"):
        return ".mp4"
    known = {
        b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"II*\x00": ".tif", b"MM\x00*": ".tif",
        b"BM": ".bmp", b"\x1a\x45\xdf\xa3": ".mkv", b"PK\x03\x04": ".zip",
    }  # fmt: skip
    return next((suffix for magic, suffix in known.items() if head.startswith(magic)), None)


def _unpack(path: str, folder: str, **_: Any) -> dict[str, Any]:
    """Unpack the pictures of a zip under numbers; say their names. Names, sizes and the ratio are checked while it is read."""
    unpacked, found = 0, list[str]()
    most = min(MAX_UNPACKED, MAX_RATIO * max(Path(path).stat().st_size, 1024))
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            raise DataError(f"the zip holds {len(entries):,} files; expected at most {MAX_ENTRIES:,}.")
        for entry in entries:
            name = entry.filename.replace("\\", "/")
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts or ":" in name or "\0" in name:
                raise DataError(f"the zip holds {entry.filename!r:.80}, which leads out of its folder.")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise DataError(f"the zip holds a link, {entry.filename!r:.80}.")
            if entry.is_dir() or any(part.startswith((".", "__MACOSX")) for part in parts):
                continue
            target, size = Path(folder) / f"{len(found):06d}", 0
            with archive.open(entry) as source, target.open("xb") as file:
                while some := source.read(CHUNK):
                    size += len(some)
                    unpacked += len(some)
                    if size > MAX_ENTRY or unpacked > most:
                        raise DataError(
                            "the zip is too large unpacked, or packed so tightly that it is no zip of pictures."
                        )
                    file.write(some)
            found.append(name)
    return {"names": found}


def _check(path: str, **_: Any) -> dict[str, Any]:
    """Decode a picture or the first frame of a clip; say its size."""
    from delaminate.data.clips import is_clip, read_clip
    from delaminate.data.reading import read_image

    clip = is_clip(path)
    pixels = read_clip(path, limit=1).pixels[0].permute(1, 2, 0).numpy() if clip else read_image(path)
    return {"height": pixels.shape[0], "width": pixels.shape[1], "clip": clip}


def _scenes(path: str, **_: Any) -> dict[str, Any]:
    """Read a whole folder of scenes, and composite each; say how many there are."""
    from delaminate.scene.loading import load_scenes
    from delaminate.scene.packing import is_packed

    if is_packed(Path(path)):
        raise DataError(
            "these scenes are packed: `delaminate scenes unpack` makes a folder of them that can be edited."
        )
    found = load_scenes(path)
    if not len(found):
        raise DataError("this folder lists no scene.")
    for scene in found:
        scene.composite()
    return {"scenes": len(found)}


def _thumbnail(path: str, to: str, side: int, frame: int = 0, **_: Any) -> dict[str, Any]:
    """Write a picture, or a frame of a clip, as a small PNG."""
    from delaminate.data.clips import is_clip, read_clip
    from delaminate.data.reading import read_with_alpha
    from delaminate.files import png_bytes, reduced, write_atomic

    if is_clip(path):
        frames = read_clip(path, limit=frame + 1).pixels
        pixels = frames[min(frame, len(frames) - 1)].permute(1, 2, 0).numpy()
    else:
        pixels = read_with_alpha(path)
    write_atomic(Path(to), png_bytes(reduced(pixels, side)))
    return {}


def _picture(path: str, folder: str, **_: Any) -> dict[str, Any]:
    """Keep a picture for edits."""
    from delaminate.pipelines.edit_history import add_picture, picture_pixels

    pixels = picture_pixels(Path(path))
    return {"picture": add_picture(Path(folder), pixels), "height": pixels.shape[0], "width": pixels.shape[1]}


def _recognise(path: str, **_: Any) -> dict[str, Any]:
    """Say what images are, and what suits them."""
    from delaminate.pipelines.recognise import recognise

    found = recognise(path)
    plan = {} if found.plan is None else {"reason": found.plan.reason, "exports": list(found.plan.exports)}
    cost = {} if found.forecast is None else {"seconds": found.forecast.seconds, "num_bytes": found.forecast.num_bytes}
    told: dict[str, Any] = json.loads(json.dumps({**found.to_json(), **plan, **cost}, default=float))
    return told


def _import(path: str, scenes: str, pictures: str, repaint: str | None, scene: str | None, **_: Any) -> dict[str, Any]:
    """Say which edits lead from scenes to files that were edited elsewhere, and keep the pictures that they bring.

    Where sprites that are shown elsewhere, too, were repainted and it was not said what that is to change, `asks` names them.
    """
    from delaminate.files import to_pixels
    from delaminate.pipelines.edit_history import add_picture
    from delaminate.pipelines.importing import read_edited
    from delaminate.scene.loading import load_scenes
    from delaminate.scene.operations import operation_document

    asks: list[dict[str, Any]] = []

    def ask(asked: Any, others: int) -> Any:
        if repaint == "everywhere" and asked.everywhere is not None:
            return "everywhere"
        if repaint is None and others:
            asks.append(
                {"scene": asked.scene.name, "layer": asked.layer.name, "sprite": asked.sprite, "others": others}
            )
        return "only-here"

    found = read_edited(path, load_scenes(scenes), repaint=ask, scene=scene)
    operations = [operation_document(each) for edit in found.edits for each in edit]
    kept = {name: add_picture(Path(pictures), to_pixels(raster)) for name, raster in found.pictures.items()}
    for each in operations:
        if "picture" in each:
            each["picture"] = kept[each["picture"]]
    words, remarks = (
        [f"{where}: {line}" for where, lines in told.items() for line in lines][:200]
        for told in (found.words, found.remarks)
    )
    return {"operations": operations, "words": words, "remarks": remarks, "asks": asks[:200]}


DOINGS: dict[str, Callable[..., dict[str, Any]]] = {
    "unpack": _unpack,
    "check": _check,
    "scenes": _scenes,
    "thumbnail": _thumbnail,
    "picture": _picture,
    "recognise": _recognise,
    "import": _import,
}


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    if pages is not None:
        most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def serve() -> None:
    """Answer on standard output what comes on standard input, a line each."""
    import delaminate.data.clips
    import delaminate.pipelines.edit_history  # noqa: F401

    _bound_memory()
    # What libraries print must not look like an answer.
    out, sys.stdout = sys.stdout, sys.stderr
    out.write("{}\n")
    out.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = DOINGS[asked["do"]](**asked)
        except (
            DelaminateError,
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            EOFError,
            ValueError,
            RuntimeError,
            KeyError,
            IndexError,
        ) as error:
            answer = {"error": " ".join(str(error).split())[:400] or type(error).__name__}
        except MemoryError:
            answer = {"error": "takes more memory than one file may."}
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    serve()

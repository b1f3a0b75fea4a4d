"""Send the studio spoiled uploads and requests, and see that it refuses each in words and goes on.

    python tools/fuzz_studio.py --count 2000 --out benchmarks/results/fuzz-studio.json
    python tools/fuzz_studio.py --doors images --seed 3 --first 120 --count 1    # one case again

Doors: `images` and `imports` (files of `hostile.KINDS`, under names that want to leave the folder), `pictures` (paint), and
`requests`: every route of the OpenAPI by turns, with ids that are none, paths and those of real things, and with bodies and
queries made of their schemas and then spoiled. All cases of a door meet one studio, whose project must answer at the end.

What counts as a fault: status 500 or an exception, a traceback or a place of this machine in the answer, more than 10 s,
more than 1.5 GB of memory in all, a file outside the studio's folder, a studio that no longer answers.
"""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from fuzz import MOST_BYTES, MOST_SECONDS, forget_memory, most_memory
from helpers.small_scenes import write_small_scenes
from helpers.studio import Client
from hostile import KINDS, case, spoil

from delaminate import export
from delaminate.files import json_bytes, png_bytes, write_atomic
from delaminate.studio.jobs import Jobs

EDITED = ("ora", "psd", "ase", "tiled", "aseprite")
"""Formats that come back."""
UPLOADS = ("images", "animations", "videos", "shards", "layered")
NAMES = (
    "{}",
    "../../{}",
    "..\\..\\{}",
    "/etc/{}",
    "a/b/{}",
    "C:\\{}",
    "{}\x00.png",
    "{}\n",
    "\u202e{}",
    "x" * 300 + "{}",
    ".",
    "",
    "~/{}",
)
IDS = (
    "abc123",
    "0",
    "",
    "..",
    "../..",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "a" * 4000,
    "\u00e4",
    "%00",
    "null",
    "-1",
    "a/b",
)
VALUES = (
    None, True, -1, 0, 1, 2**53, -(2**63), 1e308, -1e-308, 0.5, "", "x", "../../etc/passwd", "\u0000", "\U0001f600" * 50,
    "a" * 5000, [], [[]], {}, {"__proto__": {}}, "NaN", "1", "<script>", "; rm -rf /",
)  # fmt: skip


def ended_at_once(jobs: Jobs, job_id: str, *_: str) -> None:
    """Instead of a job's process: what is asked for is tried by other tools."""
    write_atomic(jobs.place(job_id) / "ended.json", json_bytes({"code": 0, "time": time.time()}))


DOORS = ("images", "imports", "pictures", "requests")
PICTURE = np.random.default_rng(0).integers(0, 256, (9, 11, 4), np.uint8)


class Requests:
    """Requests made of the OpenAPI, and spoiled; most ids are those of real things."""

    def __init__(self, client: Client, projects: list[str], rng: random.Random) -> None:
        self.schema, self.rng = client.app.openapi(), rng
        self.routes = [
            (method, path, about)
            for path, methods in self.schema["paths"].items()
            for method, about in methods.items()
            if path != "/api/events"  # which never ends
        ]
        self.known: dict[str, list[str]] = {"project": projects, "images": projects, "method": ["marionette", "redo"]}
        for project in projects:
            for kind in ("scenes", "sprites", "images"):
                answer = client.get(f"/api/projects/{project}/{kind}")
                rows = answer.json().get(kind, []) if answer.status_code == 200 else []
                self.known.setdefault(kind[:-1] if kind != "images" else "image", []).extend(row["id"] for row in rows)
        self.known["job"] = [row["id"] for row in client.value("/api/jobs")["jobs"]]
        answer = client.get(f"/api/projects/{projects[0]}")
        self.revision = answer.json()["revision"] if answer.status_code == 200 else 0
        self.known["layer"] = ["background", "layer-01", "layer-02", "layer-03"]
        self.known["into"] = self.known["sprite"]

    def text(self, name: str) -> Any:
        """A value for something of a name."""
        known = self.known.get(name)
        return self.rng.choice(known) if known and self.rng.random() < 0.95 else self.rng.choice(VALUES)

    def value(self, schema: dict[str, Any], name: str = "", depth: int = 0) -> Any:
        """A value that a schema allows, or now and then one that it does not."""
        rng = self.rng
        if rng.random() < 0.02 or depth > 6:
            return rng.choice(VALUES)
        if "$ref" in schema:
            return self.value(self.schema["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], name, depth)
        for key in ("oneOf", "anyOf"):
            if key in schema:
                return self.value(rng.choice(schema[key]), name, depth)
        if "const" in schema or "enum" in schema:
            return schema.get("const", rng.choice(schema.get("enum", [None])))
        kind = schema.get("type")
        if kind == "object":
            made = {key: self.value(each, key, depth + 1) for key, each in schema.get("properties", {}).items()
                    if key in schema.get("required", []) or rng.random() < 0.5}  # fmt: skip
            if rng.random() < 0.05:
                made[rng.choice(["extra", "__class__", "path"])] = rng.choice(VALUES)
            return made
        if kind == "array":
            most = min(schema.get("maxItems", 3), rng.choice([1, 2, 3, 200]))
            return [self.value(schema.get("items", {}), name.removesuffix("s"), depth + 1) for _ in range(most)]
        if kind in ("integer", "number"):
            low, high = schema.get("minimum", -50), schema.get("maximum", 50)
            if name == "revision" and rng.random() < 0.8:
                return self.revision
            return rng.choice([low, high, rng.randint(-2, 40), rng.randint(-2, 40) + (0.5 if kind == "number" else 0)])
        return bool(rng.random() < 0.5) if kind == "boolean" else None if kind == "null" else self.text(name)

    def make(self, number: int) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
        """Method, path, what the OpenAPI says of them, and what is sent: the routes by turns."""
        rng = self.rng
        method, path, about = self.routes[number % len(self.routes)]
        filled, query = path, []
        for each in about.get("parameters", []):
            name = each["name"]
            if each["in"] == "path":
                value = self.text(name) if rng.random() < 0.9 else rng.choice(IDS)
                raw = rng.random() < 0.3
                filled = filled.replace("{" + name + "}", str(value) if raw else quote(str(value), safe=""))
            elif each["in"] == "query" and rng.random() < 0.6:
                query.append(f"{name}={quote(str(self.value(each['schema'], name)))}")
        more: dict[str, Any] = {}
        content = about.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            body = json.dumps(self.value(content["application/json"]["schema"])).encode()
            body = spoil("body.json", body, rng) if rng.random() < 0.15 else body
            more = {"content": body, "headers": {"content-type": "application/json"}}
        elif content:
            more = {
                "content": rng.randbytes(rng.choice([0, 1, 100, 10_000])),
                "headers": {"content-type": next(iter(content))},
            }
        printable = "".join(letter for letter in filled if letter.isprintable() and letter not in " #?")
        return method.upper(), printable + ("?" + "&".join(query) if query else ""), about, more


def send_file(client: Client, project: str, door: str, path: Path, rng: random.Random) -> Any:
    """Upload a spoiled file, or the files of a folder, under a name that a page would not send."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())[:20]
    name = rng.choice(NAMES) if rng.random() < 0.3 else "{}"
    sent = [("files", (name.format(each.name), each.read_bytes())) for each in files]
    if door == "images":
        return client.post("/api/images", files=sent)
    revision = client.value(f"/api/projects/{project}")["revision"]
    data = {"revision": str(revision), "repaint": rng.choice(["everywhere", "only-here"])}
    return client.post(f"/api/projects/{project}/imports", files=sent, data=data)


def images_of(client: Client) -> str:
    """The project of some images, which is made where there is none."""
    rows = client.value("/api/projects")["projects"]
    there = [row["id"] for row in rows if row["kind"] == "images"]
    sent = [] if there else [("files", (f"{n}.png", png_bytes(PICTURE))) for n in range(3)]
    return there[0] if there else str(client.post("/api/images", files=sent).json()["project"]["id"])


def fault_of(answer: Any, about: dict[str, Any] | None, home: Path) -> str:
    """What is wrong with an answer; empty: nothing."""
    text = answer.text if "image" not in answer.headers.get("content-type", "") else ""
    if answer.status_code >= 500:
        return f"status {answer.status_code}: {text[:200]}"
    if "Traceback" in text or str(home) in text or "site-packages" in text:
        return f"tells of this machine: {text[:200]}"
    if about is not None and str(answer.status_code) not in about["responses"] and answer.status_code not in (404, 405):
        return f"status {answer.status_code} is not in the OpenAPI: {text[:200]}"
    return ""


def attempt(
    client: Client, projects: list[str], door: str, originals: dict[str, Path], place: Path, seed: int, number: int
) -> tuple[dict[str, Any] | None, Any]:
    """Try one case: what the OpenAPI says of its route, where it is one of many, and the answer."""
    rng = random.Random(f"{door}/{seed}/{number}")
    if door == "requests":
        requests = Requests(client, projects, rng)
        method, path, about, more = requests.make(number)
        return about, client.ask(method, path, **more)
    if door == "pictures":
        content = spoil("a.png", png_bytes(PICTURE), rng) if rng.random() < 0.9 else png_bytes(PICTURE)
        return None, client.post(f"/api/projects/{projects[0]}/pictures", content=content)
    kind = rng.choice(sorted(originals))
    with case(kind, originals[kind], place, seed, number) as path:
        return None, send_file(client, projects[0], door, path, rng)


def campaign(door: str, seed: int, first: int, count: int, folder: Path) -> dict[str, Any]:
    """Try cases of a door against one studio."""
    folder.mkdir()
    originals = {}
    for kind in UPLOADS if door == "images" else ("layered",) if door == "imports" else ():
        originals[kind] = folder / kind
        originals[kind].mkdir()
        KINDS[kind].make(originals[kind])
    if door == "imports":  # of the project's own scenes, too
        for name in EDITED:
            export(write_small_scenes(folder / "exported"), originals["layered"] / name, to=name)
    home, place = folder / "home", folder / "place"
    place.mkdir(parents=True)
    outcomes: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    slowest, most = 0.0, 0
    with Client(home) as client:
        places = [write_small_scenes(folder / name) for name in ("one", "two")]
        before = {*folder.parent.iterdir(), *folder.iterdir()}
        for number in range(first, first + count):
            projects = [client.open(each) for each in places]  # a request may have removed them
            if door == "requests":
                projects.append(images_of(client))
            forget_memory()
            began = time.monotonic()
            try:
                about, answer = attempt(client, projects, door, originals, place, seed, number)
                fault = fault_of(answer, about, home)
                outcomes[f"{answer.status_code // 100}xx"] += 1
            except Exception as error:
                fault = f"{type(error).__name__}: {error!s:.200}; {traceback.format_exc().splitlines()[-3:]}"
            took, memory = time.monotonic() - began, most_memory()
            slowest, most = max(slowest, took), max(most, memory)
            fault = (
                fault or (f"{took:.0f} s" if took > MOST_SECONDS else "") or ("memory" if memory > MOST_BYTES else "")
            )
            if fault:
                faults.append({"number": number, "said": fault})
                print(f"  {door} {number}: {fault}", flush=True)
            kept = {row["id"] for row in client.value("/api/projects")["projects"]} - set(projects)
            for each in sorted(kept)[20:]:
                client.ask("DELETE", f"/api/projects/{each}")
            if client.get("/api/projects").status_code != 200:
                faults.append({"number": number, "said": "the studio no longer answers"})
    outside = {*folder.parent.iterdir(), *folder.iterdir()} - before
    if outside:
        faults.append({"number": -1, "said": f"files outside: {sorted(map(str, outside))[:3]}"})
    return {"door": door, "seed": seed, "cases": count, "answers": dict(sorted(outcomes.items())), "faults": len(faults),
            "seconds": round(slowest, 2), "bytes": most, "first_faults": faults[:20]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--doors", nargs="+", default=list(DOORS), choices=DOORS)
    parser.add_argument("--count", type=int, default=200, help="cases of each door")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write what was found as JSON")
    given = parser.parse_args()
    Jobs._run = ended_at_once  # type: ignore[method-assign]
    found = []
    for door in given.doors:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="fuzz-studio-") as folder:
            found.append(campaign(door, given.seed, given.first, given.count, Path(folder) / "in"))
        row = found[-1]
        print(
            f"{door}: {row['cases']} cases, answers {row['answers']}, {row['faults']} faults; the slowest "
            f"{row['seconds']} s, {row['bytes'] / 1e9:.2f} GB at most; {time.monotonic() - began:.0f} s"
        )
    if given.out is not None:
        machine = {"python": platform.python_version(), "system": platform.system()}
        write_atomic(given.out, json_bytes({"script": "tools/fuzz_studio.py", "machine": machine, "doors": found}))
    sys.exit(1 if any(row["faults"] for row in found) else 0)


if __name__ == "__main__":
    main()

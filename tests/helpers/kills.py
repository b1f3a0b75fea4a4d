"""Kill the studio at random moments of an editing session, and see that nothing is lost but the edit in hand."""

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from delaminate.files import png_bytes, to_pixels
from delaminate.pipelines.edit_history import apply, pictures_of
from delaminate.scene.loading import load_scenes
from delaminate.scene.operations import operation_from
from delaminate.studio.session import Session
from delaminate.studio.workspace import scene_id
from helpers.small_scenes import picture, same_scene, small_scenes, write_small_scenes


class Server:
    """A studio of its own, on a folder of scenes."""

    def __init__(self, folder, home):
        command = [sys.executable, "-m", "delaminate", "studio", str(folder), "--no-browser"]
        environment = {**os.environ, "DELAMINATE_STUDIO": str(home), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            start_new_session=True,
        )
        said = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]+)&project=([0-9a-f]+)", said)
        assert found, said
        self.port, token, self.project = int(found[1]), found[2], found[3]
        until = time.monotonic() + 60
        while True:
            try:
                answer = self._ask("GET", f"/?token={token}", None, {})
                break
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.05)
        assert answer[0] == 303
        self.cookie = answer[1]["set-cookie"].split(";")[0]

    def _ask(self, method, path, body, headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, path, value=None):
        """The answer; None: there was none, for the server is dead."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode() if value is not None else b""
        kind = "application/octet-stream" if isinstance(value, bytes) else "application/json"
        headers = {"cookie": self.cookie, "content-type": kind}
        try:
            status, _, data = self._ask("POST", f"/api/projects/{self.project}/{path}", body, headers)
        except (OSError, http.client.HTTPException):
            return None
        if status != 200 and self.process.poll() is not None:
            return None  # it was killed, and another server has its port by now
        assert status == 200, data
        return json.loads(data)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


class Script:
    """Edits at random, and what they should have come to."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.edits, self.done, self.revision = [], 0, 0
        self.in_hand = None

    def step(self, server, digest):
        """One request; False: it was not answered. What was asked for is in `in_hand` until it is."""
        kind = self.rng.random()
        if kind < 0.1:
            return server.post("save") is not None
        if kind < 0.25 and self.done:
            self.in_hand = (self.edits, self.done - 1)
            answer = server.post("undo", {"revision": self.revision})
        elif kind < 0.35 and self.done < len(self.edits):
            self.in_hand = (self.edits, self.done + 1)
            answer = server.post("redo", {"revision": self.revision})
        else:
            edit = [self._operation(digest) for _ in range(self.rng.choice([1, 1, 1, 3]))]
            self.in_hand = ([*self.edits[: self.done], edit], self.done + 1)
            sent = [each | ({"scene": scene_id(each["scene"])} if "scene" in each else {}) for each in edit]
            answer = server.post("edits", {"revision": self.revision, "operations": sent})
        if answer is None:
            return False
        self.take()
        assert answer["revision"] == self.revision
        return True

    def take(self):
        """What was in hand is done."""
        self.edits, self.done = self.in_hand
        self.revision += 1
        self.in_hand = None

    def _operation(self, digest):
        name, layer = self.rng.choice(["a.png", "b.png", "c.png"]), f"layer-0{self.rng.randint(1, 3)}"
        there = {"scene": name, "layer": layer}
        return self.rng.choice(
            [
                {"operation": "move", **there, "dx": self.rng.randint(-3, 3), "dy": self.rng.randint(-3, 3)},
                {"operation": "hide", **there},
                {"operation": "show", **there},
                {"operation": "fade", **there, "opacity": self.rng.random()},
                {"operation": "rotate", **there, "degrees": 90},
                {"operation": "replace", **there, "sprite": f"sprite-0{self.rng.randint(0, 2)}"},
                {"operation": "repaint-sprite", "sprite": f"sprite-0{self.rng.randint(0, 2)}", "picture": digest},
                {"operation": "repaint", **there, "picture": digest},
                {"operation": "rename-sprite", "sprite": "sprite-01", "name": f"hero {self.rng.randint(0, 9)}"},
            ]
        )


def kill_at_random_moments(place: Path, count: int, seed: int = 0) -> int:
    """Kill a server so many times, each at another moment of one long session; say how many edits there were."""
    folder, script = write_small_scenes(place / "scenes"), Script(seed)
    digest = None
    for _ in range(count):
        server = Server(folder, place / "home")
        if digest is None:
            digest = server.post("pictures", png_bytes(to_pixels(picture(50, 5, 7))))["picture"]
        timer = threading.Timer(script.rng.uniform(0.02, 2.5), server.kill)
        timer.start()
        while script.step(server, digest):
            if script.rng.random() < 0.05:
                time.sleep(script.rng.uniform(0, 1.5))  # files follow meanwhile
        timer.join()
        check(folder, script)
    return script.revision


def check(folder, script):
    """What is there is what was answered, or that and the edit in hand."""
    session = Session(folder)
    if script.in_hand is not None and session.revision == script.revision + 1:
        script.take()
    script.in_hand = None
    assert session.revision == script.revision
    edits = [tuple(operation_from(each, "here") for each in edit) for edit in script.edits[: script.done]]
    expected = apply(small_scenes(), edits, pictures_of(folder / "edits"))
    for name, scene in zip(session.names, expected, strict=True):
        assert same_scene(session.scene(name), scene), name
    session.close()
    for one, other in zip(load_scenes(folder), expected, strict=True):
        assert same_scene(one, other)

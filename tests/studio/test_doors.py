"""Who may ask, and how much they may send."""

import asyncio
import re

import pytest
from fastapi.routing import APIRoute
from helpers.small_scenes import write_small_scenes
from helpers.studio import HOST, Client

from delaminate.studio import doors as doors_module
from delaminate.studio.doors import Doors, hosts_of
from delaminate.studio.texts import without_places


@pytest.fixture
def client(tmp_path):
    found = Client(tmp_path / "home")
    yield found
    found.close()


def routes(app):
    """Every method and path that there is, with something in the place of ids."""
    found = []
    for path, methods in app.openapi()["paths"].items():
        filled = re.sub(r"\{[a-z]+\}", "abc123", path)
        found += [(method.upper(), filled) for method in methods]
    return [*found, ("GET", "/"), ("GET", "/app.js"), ("GET", "/api/openapi.json"), ("GET", "/nothing")]


def test_the_token_of_the_address_opens_once_and_becomes_a_cookie(client):
    token = client.doors.token
    answer = client.get(f"/?token={token}", cookies={})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and token not in cookie
    assert client.get(f"/?token={token}", cookies={}).status_code == 401
    # Who has the cookie and comes by the old address goes to the clean one.
    assert client.get(f"/?token={token}").headers["location"] == "/"
    assert client.get("/").status_code == 200
    assert client.get("/?token=wrong", cookies={}).status_code == 401


def test_the_first_project_stays_in_the_clean_address_and_nothing_else_does(client):
    token = client.doors.token
    answer = client.get(f"/?token={token}&project=abc123", cookies={})
    assert answer.headers["location"] == "/?project=abc123"
    assert client.get(f"/?token={token}&project=%2F%2Fevil.example").headers["location"] == "/"


def test_no_route_opens_without_the_cookie(client):
    assert len(routes(client.app)) > 40
    for method, path in routes(client.app):
        assert client.ask(method, path, cookies={}).status_code == 401, path
        assert client.ask(method, path, cookies={client.doors.cookie: "x" * 43}).status_code == 401, path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example:8712"}, 400),  # a name that was bound to this machine later
        ({"host": "127.0.0.1:9999"}, 400),
        ({"host": "127.0.0.1"}, 400),
        ({"host": ""}, 400),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),  # another port of this machine
        ({"origin": "https://127.0.0.1:8712"}, 403),
        ({"origin": f"{HOST}.evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_no_route_opens_to_strangers_that_carry_the_cookie(client, headers, status):
    for method, path in routes(client.app):
        assert client.ask(method, path, headers=headers).status_code == status, path


def test_a_form_of_another_page_cannot_post(client):
    answer = client.ask("POST", "/api/jobs", headers={"sec-fetch-site": "none", "origin": None})
    assert answer.status_code == 403


def test_the_studios_own_page_may_ask(client):
    own = {"origin": HOST, "sec-fetch-site": "same-origin"}
    assert client.get("/api/projects", headers=own).status_code == 200
    for host in ("localhost:8712", "[::1]:8712"):
        assert client.get("/api/projects", headers={"host": host}).status_code == 200
    bearer = {"authorization": f"Bearer {client.doors.key}"}
    assert client.get("/api/projects", headers=bearer, cookies={}).status_code == 200


def test_keys_are_compared_in_constant_time(client, monkeypatch):
    compared = []
    monkeypatch.setattr(doors_module.hmac, "compare_digest", lambda one, other: compared.append(1) or one == other)
    client.get("/api/projects")
    client.get(f"/?token={client.doors.token}", cookies={})
    assert len(compared) == 2


def test_there_are_no_websockets_and_no_other_scopes(client):
    async def ask(scope):
        sent = []

        async def send(message):
            sent.append(message)

        await client.doors({"type": scope, "path": "/api/events", "headers": []}, None, send)
        return sent

    assert asyncio.run(ask("websocket")) == [{"type": "websocket.close", "code": 1008}]
    assert asyncio.run(ask("other")) == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused_and_nothing_speaks_of_cors(client, method):
    answer = client.ask(method, "/api/projects", headers={"access-control-request-method": "POST"})
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_nothing_that_is_got_has_effects(client, tmp_path):
    project = client.open(write_small_scenes(tmp_path / "scenes"))
    scene = client.value(f"/api/projects/{project}/scenes")["scenes"][0]["id"]
    journal = tmp_path / "scenes" / "edits" / "journal.jsonl"
    before = journal.read_bytes()
    for path, methods in client.app.openapi()["paths"].items():
        if "get" in methods and "events" not in path:
            filled = path.replace("{project}", project).replace("{scene}", scene).replace("{view}", "composite")
            client.get(re.sub(r"\{[a-z]+\}", "sprite-00", filled))
    assert journal.read_bytes() == before
    assert not client.workspace.session(project).unsaved
    assert all(
        not isinstance(route, APIRoute) or route.methods <= {"GET", "POST", "DELETE"} for route in client.app.routes
    )


def test_every_answer_carries_the_headers_that_keep_the_page_in(client):
    for path, cookies in (("/", None), ("/api/projects", None), ("/api/projects/zz", None), ("/api/projects", {})):
        headers = client.get(path, cookies=cookies).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    page = client.get("/").text
    assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son[a-z]+=|https?://", page)


def test_what_is_too_large_is_refused_by_what_is_said_and_by_what_comes(client, monkeypatch):
    monkeypatch.setattr(doors_module, "MAX_BODY", 1000)
    assert client.post("/api/jobs", content=b"x" * 1001).status_code == 413

    async def endless():
        for _ in range(100):
            yield b"x" * 100

    answer = client.post("/api/jobs", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "1,000 bytes" in answer.json()["error"]
    assert client.post("/api/jobs", content=b"x", headers={"content-length": "-1"}).status_code == 400


def test_a_body_that_stands_still_is_given_up(client, monkeypatch):
    monkeypatch.setattr(doors_module, "BODY_SECONDS", 0.05)

    async def slow():
        yield b"{"
        await asyncio.sleep(1)
        yield b"}"

    assert client.post("/api/jobs", content=slow(), headers={"content-type": "application/json"}).status_code == 408


def test_a_fault_is_told_to_the_log_and_not_to_the_browser(client, monkeypatch, caplog):
    def fault(*given):
        raise RuntimeError("secret /mnt/somebody/place")

    monkeypatch.setattr(client.workspace, "projects", fault)
    answer = client.get("/api/projects")
    assert answer.status_code == 500
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert "secret" in caplog.text
    assert re.search(r"under ([0-9a-f]{8})", answer.text)[1] in caplog.text


def test_no_answer_names_a_place_on_this_machine(client, tmp_path):
    folder = write_small_scenes(tmp_path / "scenes")
    project = client.open(folder)
    (folder / "scenes" / "b.png" / "scene.json").write_text("{}")
    listed = client.value(f"/api/projects/{project}/scenes")["scenes"]
    answer = client.get(f"/api/projects/{project}/scenes/{listed[1]['id']}")
    assert answer.status_code == 422
    assert "scene.json: is no delaminate-scene" in answer.json()["error"]
    for path in ("/api/projects", f"/api/projects/{project}", f"/api/projects/{project}/scenes"):
        assert str(tmp_path) not in client.get(path).text
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/a/b/c.png: is empty", "c.png: is empty"),
        ("see /a/b and /c/d/e", "see b and e"),
        (r"C:\data\x.png: no", "x.png: no"),
        ("scenes/a.png is 1/2 of it", "scenes/a.png is 1/2 of it"),
        ("'/tmp/x/y': bad", "'y': bad"),
    ],
)
def test_places_are_cut_from_what_is_said(said, shown):
    assert without_places(said) == shown


def test_files_outside_the_page_are_not_served(client):
    for path in ("/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "//etc/passwd", "/app.js/../../server.py"):
        assert client.get(path).status_code in (404, 405), path


def test_the_server_is_asked_by_its_address_and_this_machines_names():
    assert hosts_of("127.0.0.1") == ["127.0.0.1", "localhost", "::1"]
    assert hosts_of("192.168.1.5")[0] == "192.168.1.5"
    doors = Doors(Doors.__call__, ["::1"], 80)
    assert doors.hosts == {"[::1]:80", "[::1]"}

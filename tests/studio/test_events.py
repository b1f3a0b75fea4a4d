"""What the server tells of itself."""

import asyncio
import json

import pytest
from helpers.small_scenes import write_small_scenes
from helpers.studio import Client

from delaminate.errors import ConflictError
from delaminate.studio import workspace as workspace_module
from delaminate.studio.api import events


@pytest.fixture
def client(tmp_path):
    found = Client(tmp_path / "home")
    yield found
    found.close()


def edit(client, project, number):
    scene = next(iter(client.value(f"/api/projects/{project}/scenes")["scenes"]))["id"]
    move = {"operation": "move", "scene": scene, "layer": "layer-01", "dx": number, "dy": 0}
    session = client.workspace.session(project)
    answer = client.post(f"/api/projects/{project}/edits", {"revision": session.revision, "operations": [move]})
    return answer.json()


def test_every_page_hears_of_every_change(client, tmp_path):
    project = client.open(write_small_scenes(tmp_path / "scenes"))

    async def listen():
        lines = events.told(client.workspace, client.workspace.listen())
        assert (await anext(lines)).startswith(":")
        change = await asyncio.to_thread(edit, client, project, 2)
        told = json.loads((await anext(lines)).removeprefix("data: "))
        assert told == {
            "type": "change", "project": project, "revision": 1, "scenes": change["scenes"], "sprites": []
        }  # fmt: skip
        client.workspace.follow(project, client.workspace.session(project), now=True)
        assert json.loads((await anext(lines)).removeprefix("data: "))["type"] == "saved"
        await lines.aclose()
        assert client.workspace.listeners == []

    asyncio.run(listen())


def test_who_is_far_behind_loads_everything_again_and_not_too_many_listen(client, monkeypatch):
    monkeypatch.setattr(workspace_module, "MAX_WAITING", 2)
    monkeypatch.setattr(workspace_module, "MAX_LISTENERS", 2)

    async def listen():
        queue = client.workspace.listen()
        for number in range(3):
            client.workspace.publish({"type": "job", "job": number})
        await asyncio.sleep(0)
        assert queue.get_nowait() == {"type": "reload"}
        client.workspace.listen()
        with pytest.raises(ConflictError, match="2 pages listen"):
            client.workspace.listen()

    asyncio.run(listen())


def test_jobs_are_told_of_when_they_change(client, monkeypatch):
    monkeypatch.setattr(events, "LOOK", 0.01)
    rows = [{"id": "a", "state": "running"}]
    monkeypatch.setattr(events, "described", lambda space: [dict(row) for row in rows])

    async def listen():
        queue = client.workspace.listen()
        watching = asyncio.create_task(events.watch_jobs(client.workspace))
        first = await asyncio.wait_for(queue.get(), 5)
        rows[0]["state"] = "done"
        second = await asyncio.wait_for(queue.get(), 5)
        watching.cancel()
        assert [first["job"]["state"], second["job"]["state"]] == ["running", "done"]
        assert queue.empty()

    asyncio.run(listen())


def test_the_line_is_kept_open_and_ends_with_the_server(client, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT", 0.01)

    async def listen():
        lines = events.told(client.workspace, client.workspace.listen())
        assert [await anext(lines), await anext(lines)] == [": hello\n\n", ": still here\n\n"]
        client.workspace.publish({"type": "end"})
        left = [line async for line in lines]
        assert all(line.startswith(":") for line in left)

    asyncio.run(listen())

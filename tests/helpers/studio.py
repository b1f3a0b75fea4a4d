"""The studio in this process: a client that has opened the door, and one that has not."""

import asyncio

import httpx

from delaminate.studio.doors import Doors
from delaminate.studio.server import create_app
from delaminate.studio.workspace import Workspace

HOST = "http://127.0.0.1:8712"


class Client:
    """Asks one request at a time. `headers` replace those of a page of the studio; None takes one away."""

    def __init__(self, home):
        self.workspace = Workspace(home)
        self.app = create_app(self.workspace)
        self.doors = Doors(self.app, ["127.0.0.1", "localhost", "::1"], 8712)
        self.cookies = {self.doors.cookie: self.doors.key}

    def ask(self, method, path, headers=None, cookies=None, raw=False, **more):
        async def asked():
            transport = httpx.ASGITransport(self.app if raw else self.doors, raise_app_exceptions=False)
            carried = self.cookies if cookies is None else cookies
            async with httpx.AsyncClient(transport=transport, base_url=HOST, cookies=carried) as client:
                request = client.build_request(method, path, **more)
                for name, value in (headers or {}).items():
                    request.headers.pop(name, None)
                    if value is not None:
                        request.headers[name] = value
                return await client.send(request)

        return asyncio.run(asked())

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, json=None, **more):
        return self.ask("POST", path, **({"json": json} if json is not None else {}), **more)

    def value(self, path):
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def open(self, folder):
        return self.workspace.open_given(str(folder)).id

    def close(self):
        self.workspace.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for job in self.workspace.jobs.all():
            self.workspace.jobs.stop(job.id)
        self.close()

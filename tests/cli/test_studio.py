"""`delaminate studio`: what is opened, where it listens, what is said."""

import socket
import webbrowser

import pytest
from helpers.small_scenes import write_small_scenes

from delaminate.errors import ConfigError, OutputError
from delaminate.studio import server
from delaminate.studio.workspace import Workspace


@pytest.fixture
def served(monkeypatch, tmp_path):
    """What would be served: the app's doors, and the socket."""
    found = {}

    class Server:
        def __init__(self, config):
            found["doors"] = config.app

        def run(self, sockets):
            found["address"] = sockets[0].getsockname()
            sockets[0].close()
            found["doors"].app.state.workspace.close()

    monkeypatch.setenv("DELAMINATE_STUDIO", str(tmp_path / "home"))
    monkeypatch.setattr(server.uvicorn, "Server", Server)
    monkeypatch.setattr(webbrowser, "open", lambda address: found.setdefault("browser", address))
    return found


def test_the_studio_listens_on_this_machine_alone_and_says_where(command, served, tmp_path):
    code, out, err = command("studio", write_small_scenes(tmp_path / "scenes"), "--no-browser")
    assert code == 0, err
    assert served["address"][0] == "127.0.0.1"
    assert f"http://127.0.0.1:{served['address'][1]}/?token={served['doors'].token}&project=" in out
    assert "Warning" not in err and "browser" not in served


def test_a_browser_is_opened(command, served):
    assert command("studio")[0] == 0
    assert served["browser"].endswith(served["doors"].token)


def test_other_machines_are_let_in_by_an_option_and_with_a_warning(command, served):
    code, _, err = command("studio", "--host", "0.0.0.0", "--no-browser")
    assert code == 0
    assert "Warning: other machines that reach 0.0.0.0 can ask this studio" in err
    assert served["address"][0] == "0.0.0.0"
    for host in ("localhost", "127.0.0.1"):
        assert "Warning" not in command("studio", "--host", host, "--no-browser")[2]


def test_a_port_that_is_taken_is_refused_and_the_usual_one_gives_way(command, served):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = command("studio", "--port", taken.getsockname()[1], "--no-browser")
        assert code == 2
        assert "cannot listen on 127.0.0.1" in err
    with pytest.raises(OutputError, match="cannot listen"):
        server.find_socket("203.0.113.7", None)
    with socket.socket() as usual:
        usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            usual.bind(("127.0.0.1", server.PORT))
            usual.listen()
        except OSError:
            pytest.skip("the studio's port is taken by something else")
        with server.find_socket("127.0.0.1", None) as found:
            assert found.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle's algorithm on
            assert found.getsockname()[1] != server.PORT


def test_two_studios_that_start_together_have_two_ports():
    with server.find_socket("127.0.0.1", None) as one, server.find_socket("127.0.0.1", None) as other:
        assert one.getsockname()[1] != other.getsockname()[1]


def test_what_cannot_be_opened_is_refused(command, served, tmp_path):
    for given in (tmp_path / "nothing", tmp_path / "text.txt"):
        (tmp_path / "text.txt").write_text("hello")
        code, _, err = command("studio", given, "--no-browser")
        assert code == 2
        assert "neither scenes, a run, a model, nor images" in err


def test_scenes_runs_models_and_images_are_told_apart(tmp_path, pieces, model):
    workspace = Workspace(tmp_path / "home")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("")
    given = [write_small_scenes(tmp_path / "scenes"), tmp_path / "run", model, pieces / "images", "redo/flowers17"]
    assert [workspace.open_given(str(each)).kind for each in given] == ["scenes", "run", "model", "images", "model"]
    with pytest.raises(ConfigError):
        workspace.open_given("redo/none")
    workspace.close()

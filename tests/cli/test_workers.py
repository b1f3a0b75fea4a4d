"""Work shared among processes: the same results, and a lost worker costs what it was doing."""

import json
import os
import signal
import sys

import pytest
from helpers.archives import write_tar
from helpers.workers import noted_shard

import delaminate
from delaminate.errors import ConfigError, DataError, MissingExtra
from delaminate.pipelines import cluster, decomposition
from delaminate.pipelines.cluster import Workers, chosen_workers, pool

pytest.importorskip("distributed")
# Dask's own clean-up warns of sockets that its processes had.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def files_of(folder):
    """All files of scenes; journals and the summaries of packs differ in where things lie."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(("journal", ".cache"))}


@pytest.fixture
def shards(pieces, tmp_path):
    """The drawn pieces in a tar, with a broken one among them."""
    contents = {path.name: path.read_bytes() for path in sorted((pieces / "images").iterdir())}
    return write_tar(tmp_path / "pieces.tar", contents | {"broken.png": b"broken"})


@pytest.mark.slow
def test_workers_make_what_one_process_makes(command, model, shards, pieces, tmp_path):
    words = ("decompose", model, shards, "--batch", 1)
    assert command(*words, "--out", tmp_path / "one")[0] == 0
    code, out, err = command(*words, "--out", tmp_path / "two", "--workers", 2)
    assert (code, err) == (0, "")
    assert "broken.png" in out
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert not (tmp_path / "two" / ".cache").exists()
    code, _, err = command(*words, "--out", tmp_path / "two", "--workers", 2)
    assert (code, "holds scenes already" in err) == (2, True)
    # Figures and files of other formats, too.
    for name, more in (("a", ()), ("b", ("--workers", 2))):
        how = ("--batch", 1, "--json", tmp_path / f"{name}.json", *more)
        assert command("evaluate", model, pieces, *how)[0] == 0
        assert command("export", tmp_path / "one", "--to", "masks,ora,png", "--out", tmp_path / name, *more)[0] == 0
    one, other = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert one.pop("images_per_second") > 0 and other.pop("images_per_second") > 0
    assert one == other
    made = [files_of(tmp_path / name) for name in ("a", "b")]
    assert made[0] == made[1]
    assert len(made[0]) > 5


@pytest.mark.slow
def test_a_lost_worker_costs_one_shard(model, shards, tmp_path, monkeypatch):
    delaminate.decompose(model, str(shards), tmp_path / "one", batch=1, device="cpu")
    each = cluster.Pool.each
    lost = []

    def losing(self, function, tasks):
        for number, result in each(self, function, tasks):
            if not lost:
                lost.append(next(iter(self.client.run(os.getpid).values())))
                os.kill(lost[0], signal.SIGKILL)
            yield number, result

    monkeypatch.setattr(cluster.Pool, "each", losing)
    monkeypatch.setattr(decomposition, "decompose_shard", noted_shard)
    found = delaminate.decompose(model, str(shards), tmp_path / "two", batch=1, device="cpu", workers=2)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    begun = [line.split() for line in (tmp_path / "two.log").read_text().splitlines()]
    parts = {shard for shard, _, _ in begun}
    assert len(parts) == min(8, len(found))
    # One that was finished, and whose answer was lost, is only seen to be there.
    cost = [shard for shard, _, done in begun if done == "0"]
    assert len(parts) <= len(cost) <= len(parts) + 1
    assert str(lost[0]) in {process for _, process, _ in begun}


@pytest.mark.slow
def test_workers_of_a_running_cluster_are_asked_by_its_address(model, shards, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50) as running:
        address = running.scheduler_address
        delaminate.decompose(model, str(shards), tmp_path / "two", batch=1, device="cpu", cluster=address, packed=True)
    delaminate.decompose(model, str(shards), tmp_path / "one", batch=1, device="cpu", packed=True)
    loaded = [delaminate.load_scenes(tmp_path / name) for name in ("one", "two")]
    assert loaded[0].names == loaded[1].names
    assert all(a.composite().equal(b.composite()) for a, b in zip(*loaded, strict=True))


@pytest.mark.slow
def test_workers_meet_on_this_machine_alone_over_tls():
    with pool(Workers(1)) as there:
        known = there.client.scheduler_info()
        assert known["address"].startswith("tls://127.0.0.1:")
        assert all(address.startswith("tls://127.0.0.1:") for address in known["workers"])
        assert there.size == 1


def test_what_workers_cannot_have_is_refused(command, model, pieces, tmp_path, monkeypatch):
    loaded = delaminate.load_model(model)
    with pytest.raises(ConfigError, match="load the model by themselves"):
        delaminate.decompose(loaded, str(pieces), tmp_path / "a", workers=2)
    with pytest.raises(ConfigError, match="read the data by themselves"):
        delaminate.decompose(model, [str(pieces)], tmp_path / "a", workers=2)
    with pytest.raises(ConfigError, match="into a folder"):
        delaminate.decompose(model, str(pieces), workers=2)
    with pytest.raises(ConfigError, match="all shards are made"):
        delaminate.decompose(model, str(pieces), tmp_path / "a", shard=(1, 2), workers=2)
    with pytest.raises(ConfigError, match="load the model by themselves"):
        delaminate.evaluate(loaded, "tetrominoes", workers=2)
    with pytest.raises(ConfigError, match="give one of them"):
        Workers(2, "tcp://host:1")
    with pytest.raises(ConfigError, match="at least 1"):
        Workers(0)
    assert chosen_workers(None, None) is None
    code, _, err = command("decompose", model, pieces, "--out", tmp_path / "a", "--cluster", "nonsense://x")
    assert (code, "--cluster nonsense://x: no scheduler answers" in err) == (2, True)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtra, match="scale"), pool(Workers(2)):
        pass


def test_a_shard_without_a_readable_image_is_no_failure(model, shards, monkeypatch, tmp_path):
    def nothing(*args, **more):
        raise DataError("no image became a scene")

    monkeypatch.setattr(decomposition, "decompose", nothing)
    said = decomposition.decompose_shard(str(model), str(shards), str(tmp_path), (1, 2), {"device": "cpu"})
    assert said == "no image became a scene"

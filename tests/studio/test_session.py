"""An open project: edits, undo over images, files that follow, and others who write meanwhile."""

import contextlib
import os
import random
import shutil

import pytest
import torch
from helpers.small_scenes import a_colour, picture, same_scene, small_scenes, write_small_scenes

from delaminate.errors import ConfigError, ConflictError, FormatError, OutputError
from delaminate.files import png_bytes, to_pixels
from delaminate.pipelines import edit_history
from delaminate.pipelines.edit_history import add_picture, replay
from delaminate.pipelines.repacking import pack_scenes
from delaminate.scene.loading import load_scenes
from delaminate.scene.operations import operation_from
from delaminate.studio import session as session_module
from delaminate.studio.session import Session


@pytest.fixture
def folder(tmp_path):
    return write_small_scenes(tmp_path / "scenes")


@pytest.fixture
def opened():
    """Open sessions that are closed in the end."""
    sessions = []

    def start(folder):
        sessions.append(Session(folder))
        return sessions[-1]

    yield start
    for session in sessions:
        session.history.close()


def do(session, *documents):
    return session.edit(tuple(operation_from(each, "here") for each in documents), session.revision)


def hide(scene="a.png", layer="layer-01"):
    return {"operation": "hide", "scene": scene, "layer": layer}


def move(scene="a.png", layer="layer-01", dx=1, dy=2):
    return {"operation": "move", "scene": scene, "layer": layer, "dx": dx, "dy": dy}


def all_scenes(session):
    return [session.scene(name) for name in session.names]


def same(ones, others):
    return len(ones) == len(others) and all(same_scene(one, other) for one, other in zip(ones, others, strict=True))


def test_edits_are_undone_and_done_again_over_images_and_sprites(opened, folder):
    session = opened(folder)
    states = [all_scenes(session)]
    digest = add_picture(session.history.folder, to_pixels(picture(20, 7, 7)))
    small, large = torch.zeros(4, 4, 6), torch.zeros(4, 7, 7)
    small[:, :2], large[:, :, 3:] = 1, 1
    half, part = (add_picture(session.history.folder, to_pixels(each)) for each in (small, large))
    for edit in (
        [hide()],
        [move("b.png"), move("c.png", "layer-02")],
        [{"operation": "repaint-sprite", "sprite": "sprite-01", "picture": digest}],
        [{"operation": "recolour-sprites", "sprites": ["sprite-00"], "colour": a_colour(), "to": "#102030"}],
        [{"operation": "merge-sprites", "sprite": "sprite-00", "into": "sprite-02"}],
        [{"operation": "add", "scene": "b.png", "sprite": "sprite-00", "x": 5, "y": 6}],
        [{"operation": "split-sprite", "sprite": "sprite-01", "picture": half}],
        [{"operation": "split-sprite", "sprite": "sprite-00", "picture": part}],
        [{"operation": "drop-sprite", "sprite": "sprite-02"}],
    ):
        do(session, *edit)
        states.append(all_scenes(session))
    for state in reversed(states[:-1]):
        session.undo(session.revision)
        assert same(all_scenes(session), state)
    for state in states[1:]:
        session.redo(session.revision)
        assert same(all_scenes(session), state)
    assert session.revision == 27
    session.close()
    assert same(list(load_scenes(folder)), states[-1])
    # A day later, everything can still be undone.
    session = opened(folder)
    for state in reversed(states[:-1]):
        session.undo(session.revision)
        assert same(all_scenes(session), state)
    session.close()
    assert same(list(load_scenes(folder)), states[0])
    assert not list((folder / "dictionary").glob(".*"))


def test_random_edits_are_what_the_journal_replays(opened, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    rng, session = random.Random(0), opened(folder)
    for _ in range(60):
        name = rng.choice(session.names)
        kind = rng.random()
        if kind < 0.2 and session.can_undo:
            session.undo(session.revision)
        elif kind < 0.3 and session.can_redo:
            session.redo(session.revision)
        else:
            layer = rng.choice(session.scene(name).layers[1:] or session.scene(name).layers).id
            copy = (
                {"operation": "duplicate", "scene": name, "layer": layer}
                if layer != "background"
                else hide(name, layer)
            )
            do(session, rng.choice([hide(name, layer), move(name, layer, rng.randint(-3, 3), 1), copy]))
        if rng.random() < 0.1:
            session.save()
    session.save()
    assert same(list(load_scenes(folder)), all_scenes(session))
    replay(tmp_path / "copy", folder / "edits" / "journal.jsonl")
    assert same(list(load_scenes(tmp_path / "copy")), all_scenes(session))


def test_a_page_that_has_not_seen_the_last_edit_is_told_so(opened, folder):
    session = opened(folder)
    do(session, hide())
    with pytest.raises(ConflictError, match="of revision 0, and the project is at 1"):
        session.edit((operation_from(move(), "here"),), 0)
    with pytest.raises(ConflictError):
        session.undo(0)
    assert session.revision == 1


@pytest.mark.parametrize(
    "document",
    [
        hide(layer="none"),
        hide(scene="none.png"),
        move(dx=2e9),
        {"operation": "scale", "scene": "a.png", "layer": "layer-01", "across": 0, "down": 1},
        {"operation": "drop-sprite", "sprite": "sprite-09"},
        {"operation": "remove", "scene": "a.png", "layer": "background"},
        {"operation": "repaint-sprite", "sprite": "sprite-00", "picture": "../../etc"},
        {"operation": "repaint-sprite", "sprite": "sprite-00", "picture": "0" * 64},
        {"operation": "fade", "scene": "a.png", "layer": "layer-01", "opacity": 2},
    ],
)
def test_an_impossible_edit_changes_nothing(opened, folder, document):
    session = opened(folder)
    journal = (folder / "edits" / "journal.jsonl").read_bytes()
    with pytest.raises((ConfigError, FormatError)):
        do(session, move(), document)
    assert session.revision == 0
    assert (folder / "edits" / "journal.jsonl").read_bytes() == journal
    assert same(all_scenes(session), small_scenes())


def test_what_could_not_be_read_again_is_refused(opened, folder):
    session = opened(folder)
    for _ in range(2):
        do(session, move(dx=4e8))
    with pytest.raises(FormatError, match="expected a number"):
        do(session, move(dx=4e8))
    assert session.revision == 2


def test_a_cut_off_line_is_the_edit_in_hand_and_no_other(opened, folder):
    session = opened(folder)
    do(session, hide())
    do(session, move())
    session.history.close()
    path = folder / "edits" / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-3])
    again = opened(folder)
    assert again.revision == 1
    assert not again.scene("a.png").layer("layer-01").visible
    do(again, move("b.png"))
    again.close()
    assert opened(folder).revision == 2


def test_two_studios_do_not_share_a_folder(opened, folder):
    session = opened(folder)
    with pytest.raises(ConfigError, match="open in another studio"):
        opened(folder)
    session.close()
    opened(folder).close()


def test_packed_scenes_are_refused(opened, folder, tmp_path):
    pack_scenes(folder, tmp_path / "packed")
    with pytest.raises(ConfigError, match="scenes unpack"):
        opened(tmp_path / "packed")


def test_a_sprite_that_was_painted_elsewhere_is_an_edit(opened, folder):
    session = opened(folder)
    before = all_scenes(session)
    path = folder / "dictionary" / "sprite-01.png"
    path.write_bytes(png_bytes(to_pixels(picture(30, 9, 9))))
    change = session.take_painted()
    assert change.sprites == ("sprite-01",)
    assert torch.equal(session.dictionary.sprites[1], picture(30, 9, 9))
    assert session.take_painted() is None
    session.undo(session.revision)
    assert same(all_scenes(session), before)
    session.save()
    assert same(list(load_scenes(folder)), before)
    assert session.take_painted() is None
    session.redo(session.revision)
    session.close()
    # ... also while no studio is open.
    path.write_bytes(png_bytes(to_pixels(picture(31, 2, 2))))
    session = opened(folder)
    assert session.take_painted().sprites == ("sprite-01",)
    path.write_bytes(b"half a pict")
    assert session.take_painted() is None


def test_a_scene_that_was_changed_elsewhere_is_not_written_over(opened, folder):
    session = opened(folder)
    do(session, hide())
    session.save()
    other = [scene.move("layer-02", 3, 3) if scene.name == "a.png" else scene for scene in load_scenes(folder)]
    from delaminate.scene.saving import save_scenes

    save_scenes(other, folder)
    do(session, move())
    with pytest.raises(ConflictError, match="changed by another program"):
        session.save()
    assert same_scene(load_scenes(folder)[0], other[0])
    assert session.unsaved
    session.keep_ours()
    assert same_scene(load_scenes(folder)[0], session.scene("a.png"))
    save_scenes(other, folder)
    session.keep_theirs()
    assert (session.revision, session.can_undo) == (0, False)
    assert same_scene(session.scene("a.png"), other[0])
    assert (folder / "edits-1" / "journal.jsonl").exists()


def test_a_full_disk_loses_nothing(opened, folder, monkeypatch):
    session = opened(folder)
    do(session, hide())

    def full(path, data, durable=False):
        raise OutputError(f"{path}: cannot be written (No space left on device).")

    with monkeypatch.context() as patch:
        patch.setattr(session_module, "write_atomic", full)
        with pytest.raises(OutputError, match="No space left"):
            session.save()
    assert session.unsaved
    with monkeypatch.context() as patch:
        # The journal itself: the edit does not count, and half a line is taken back.
        patch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OutputError, match="No space left"):
            do(session, move())
    assert session.revision == 1
    do(session, move("b.png"))
    session.close()
    assert edit_history.read_journal(folder / "edits" / "journal.jsonl")[0].revision == 2
    assert not load_scenes(folder)[0].layer("layer-01").visible


def test_saving_can_be_cut_off_after_any_file(opened, folder, tmp_path, monkeypatch):
    expected = None
    for cut in range(12):
        copy = shutil.copytree(folder, tmp_path / f"cut-{cut}")
        session = opened(copy)
        do(session, {"operation": "merge-sprites", "sprite": "sprite-00", "into": "sprite-02"})
        do(session, move("b.png", "layer-02"))
        expected = all_scenes(session)
        count, write = 0, session_module.write_atomic

        def some(path, data, durable=False, write=write, cut=cut):
            nonlocal count
            count += 1
            if count > cut:
                raise KeyboardInterrupt
            write(path, data, durable)

        with monkeypatch.context() as patch:
            patch.setattr(session_module, "write_atomic", some)
            with contextlib.suppress(KeyboardInterrupt):
                session.save()
        session.history.close()
        again = opened(copy)
        assert same(all_scenes(again), expected)
        again.close()
        assert same(list(load_scenes(copy)), expected)


def test_memory_is_let_go_of(opened, folder, monkeypatch):
    monkeypatch.setattr(session_module, "KEPT_LAYERS", 20)
    session = opened(folder)
    for number in range(100):
        do(session, move("abc"[number % 3] + ".png", dx=1, dy=0))
    assert sum(len(kept) for kept in session._scenes.values()) < 10
    for _ in range(100):
        session.undo(session.revision)
    assert same(all_scenes(session), small_scenes())


def test_usage_follows_edits(opened, folder):
    session = opened(folder)
    assert [sum(each.values()) for each in session.usage()] == [3, 3, 3]
    do(session, {"operation": "remove", "scene": "a.png", "layer": "layer-01"})
    do(session, {"operation": "duplicate", "scene": "b.png", "layer": "layer-02"})
    assert session.usage()[0] == {"b.png": 1, "c.png": 1}
    assert session.usage()[1]["b.png"] == 2
    do(session, {"operation": "drop-sprite", "sprite": "sprite-00"})
    assert [sum(each.values()) for each in session.usage()] == [4, 3]
    session.close()
    assert [row["used"] for row in edit_history.read_summary(folder).entries] == [4, 3]


def test_a_new_scene_is_there_at_once_and_edits_before_and_after_it_are_undone(folder, opened):
    session = opened(folder)
    do(session, hide(), move("b.png"))
    do(session, {"operation": "merge-sprites", "sprite": "sprite-02", "into": "sprite-01"})
    session.add_scene("new", "b.png", background=True)
    assert session.names == ("a.png", "b.png", "c.png", "new")
    assert [layer.id for layer in session.scene("new").layers] == ["background"]
    do(session, {"operation": "add", "scene": "new", "sprite": "sprite-00", "x": 5, "y": 6})
    assert len(session.scene("new").layers) == 2
    session.save()
    assert len(load_scenes(folder)[3].layers) == 2
    for _ in range(3):
        session.undo(session.revision)
    assert len(session.scene("new").layers) == 1
    assert session.scene("a.png").layers[1].visible
    assert len(session.dictionary) == 3
    with pytest.raises(ConfigError, match="already"):
        session.add_scene("new", "a.png", background=True)
    session.close()
    again = opened(folder)
    assert again.names == ("a.png", "b.png", "c.png", "new")
    assert same(all_scenes(again), list(load_scenes(folder)))

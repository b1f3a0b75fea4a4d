"""What an edited scene exports to, imported into the scene as it was, leads to the edited scene."""

import random

import numpy as np
import pytest
from helpers.exports import clip, composite, scenes
from helpers.exports import random as noise

from delaminate.exporters.aseprite import write_ase
from delaminate.exporters.openraster import write_openraster
from delaminate.exporters.photoshop import write_psd
from delaminate.exporters.tiled import write_tiled
from delaminate.pipelines.importing import import_edited

WRITERS = {"ora": write_openraster, "psd": write_psd, "ase": write_ase, "tiled": write_tiled}


def an_edit(scene, choice):
    """Do one edit that a person could do in a paint program; `choice` is a random generator."""
    layers = [layer for layer in scene.layers[scene.background :] if layer.id != "border"]
    if not layers:
        return scene
    layer = choice.choice(layers)
    height, width = scene.size
    verb = choice.choice(
        ["move", "flip", "turn", "hide", "fade", "rename", "reorder", "remove", "duplicate", "insert", "paste"]
    )
    if verb == "move":
        return scene.move(layer.id, choice.randint(-width // 2, width // 2), choice.randint(-4, 4))
    if verb == "flip":
        return scene.scale(layer.id, *choice.choice([(-1, 1), (1, -1)]))
    if verb == "turn":
        return scene.rotate(layer.id, choice.choice([90, 180, 270]))
    if verb == "hide":
        return scene.hide(layer.id) if layer.visible else scene.show(layer.id)
    if verb == "fade":
        return scene.fade(layer.id, choice.randint(0, 255) / 255)
    if verb == "rename":
        return scene.rename(layer.id, choice.choice(["hero", "Käfer", "a [b] c"]))
    if verb == "reorder":
        return scene.reorder(layer.id, choice.randint(int(scene.background), len(scene.layers) - 1))
    if verb == "remove":
        return scene.remove(layer.id)
    if verb == "duplicate":
        return scene.duplicate(layer.id)
    picture = (noise(choice.randint(0, 99), 4, choice.randint(1, 9), choice.randint(1, 9)) * 255).round() / 255
    place = choice.randint(-3, width - 1), choice.randint(-3, height - 1)
    return scene.insert(picture, *place, "new") if verb == "insert" else scene.paste(layer.id, picture, *place)


@pytest.mark.parametrize("kind", ["ora", "psd", "tiled"])
@pytest.mark.parametrize("shown", [clip(5), scenes(), scenes(False)], ids=["clip", "set", "bare"])
def test_nothing_was_edited_and_nothing_comes_back(tmp_path, kind, shown):
    WRITERS[kind](shown, tmp_path)
    imported = import_edited(tmp_path, shown)
    assert (imported.edits, imported.words, imported.remarks) == (0, {}, {})


@pytest.mark.parametrize("kind", ["ora", "psd", "tiled"])
@pytest.mark.parametrize("seed", range(12))
def test_random_edits_come_back(tmp_path, kind, seed):
    choice = random.Random(seed)
    shown = [clip(4), scenes(), scenes(False)][seed % 3]
    edited = []
    for scene in shown:
        for _ in range(choice.randint(1, 5)):
            scene = an_edit(scene, choice)
        edited.append(scene)
    WRITERS[kind](edited, tmp_path)
    imported = import_edited(tmp_path, shown, repaint="only-here")
    for got, wanted in zip(imported.scenes, edited, strict=True):
        assert np.abs(composite(got) - composite(wanted)).max() < 0.012, imported.words.get(got.name)
        if kind != "tiled":
            assert [layer.name for layer in got.layers] == [layer.name for layer in wanted.layers]


@pytest.mark.parametrize("seed", range(8))
def test_random_edits_of_a_clip_come_back_from_aseprite(tmp_path, seed):
    choice = random.Random(100 + seed)
    shown, edited = clip(5), []
    for scene in shown:
        for _ in range(choice.randint(0, 3)):
            again = an_edit(scene, choice)
            scene = again if len(again.layers) == len(scene.layers) else scene
        edited.append(scene)
    write_ase(edited, tmp_path)
    imported = import_edited(tmp_path, shown, repaint="only-here")
    for got, wanted in zip(imported.scenes, edited, strict=True):
        assert np.abs(composite(got) - composite(wanted)).max() < 0.012, imported.words.get(got.name)

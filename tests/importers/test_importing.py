"""What single edits are understood as, and files of real programs."""

import dataclasses
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.exports import clip, composite, solid
from PIL import Image

from delaminate.errors import ConfigError, DataError, FormatError
from delaminate.exporters.aseprite import write_aseprite
from delaminate.exporters.atlas import write_atlas
from delaminate.exporters.openraster import write_openraster
from delaminate.exporters.tiled import write_tiled
from delaminate.files import from_pixels
from delaminate.importers.aseprite import read_aseprite
from delaminate.importers.comparison import compare
from delaminate.importers.document import Document, DocumentLayer
from delaminate.importers.openraster import read_openraster
from delaminate.importers.photoshop import read_psd
from delaminate.pipelines.exporting import as_set, export
from delaminate.pipelines.importing import import_edited
from delaminate.scene.canvas_map import Blocks
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.loading import load_scenes
from delaminate.scene.operations import Insert, Move, Paste, RepaintSprite
from delaminate.scene.placements import Dictionary, Placement, Transform
from delaminate.scene.saving import save_scenes

FILES = Path(__file__).parent / "files"
"""`helpers.exports.clip(5)`, its third scene: krita.* saved by Krita 5.1.5 as it came, gimp-edited.psd edited in GIMP 2.10."""

SIZE = (30, 40)


def scene_of(*transforms, sprite=None, colour=None):
    """A scene of one sprite, shown once for each chain of transforms."""
    sprite = solid((6, 5), 7) if sprite is None else sprite
    placements = tuple(Placement(0, chain, *(() if colour is None else (colour,))) for chain in transforms)
    (scene,) = Decomposition(Dictionary((sprite,)), (placements,), transforms[0][-1].size).scenes(["a.png"])
    return scene


def document_of(scene, change=lambda number, pixels: pixels):
    """What a paint program saves of a scene: canvases, each of them changed."""
    from delaminate.exporters.files import painted_layers

    layers = tuple(
        DocumentLayer(f"{each.layer.name} [{each.layer.id}]", change(number, each.canvas().copy()))
        for number, each in enumerate(painted_layers(scene, opacity=False))
    )
    return Document("file", scene.size, layers)


def dot(*places, colour=(10, 200, 30, 255)):
    """Paint pixels of the first layer."""

    def change(number, pixels):
        if number == 0:
            for x, y in places:
                pixels[y, x] = colour
        return pixels

    return change


def everywhere(asked):
    return True


@pytest.mark.parametrize("orientation", range(8))
@pytest.mark.parametrize("place", [(3, 4), (9, 11), (14, 9), (8, 15)], ids=["above left", "inside", "right", "below"])
def test_a_sprite_painted_on_changes_everywhere_in_each_orientation(orientation, place):
    shown = (5, 6) if orientation & 1 else (6, 5)
    scene = scene_of((Transform.oriented(orientation, 8, 9, shown, SIZE),), (Transform.shift(22, 14, SIZE),))
    found = compare(scene, document_of(scene, dot(place)), everywhere)
    assert not found.operations
    (operation,) = found.sprites
    after = operation.on_scene(scene, operation.on_dictionary(scene.dictionary, found.pictures.get), found.pictures.get)
    first, second = (dataclasses.replace(after, layers=(layer,)) for layer in after.layers)
    wanted = dataclasses.replace(scene, layers=scene.layers[:1]).composite()
    wanted[:, place[1], place[0]] = torch.tensor([10, 200, 30]) / 255
    assert torch.equal(first.composite(), wanted)
    assert ((second.composite() - torch.tensor([10, 200, 30])[:, None, None] / 255).abs().sum(0) < 1e-6).sum() == 1


def test_a_sprite_that_was_enlarged_by_blocks_is_repainted_pixel_by_pixel():
    blocks = Blocks((3.0, 3.0), (0.0, 0.0), (0, 0, 30, 42), (30, 42))
    scene = scene_of((Transform.shift(2, 1, (10, 14)), Transform.of_blocks(blocks)))
    places = [(x, y) for x in range(9, 12) for y in range(6, 9)]  # one block
    (operation,) = (found := compare(scene, document_of(scene, dot(*places)), everywhere)).sprites
    picture = found.pictures[operation.picture]
    assert (operation.left, operation.top) == (0, 0)
    changed = (picture != scene.dictionary.sprites[0]).any(0)
    assert changed.nonzero().tolist() == [[1, 1]]
    assert (picture[:, 1, 1] * 255).round().tolist() == [10, 200, 30, 255]


def test_a_sprite_in_another_colour_is_repainted_in_its_own():
    scene = scene_of((Transform.shift(2, 1, SIZE),), colour=(0.5, 0.5, 0.0, 0.1, 0.0, 0.3))
    painted = document_of(scene, dot((3, 2), colour=(100, 50, 77, 255)))
    (operation,) = (found := compare(scene, painted, everywhere)).sprites
    picture, was = found.pictures[operation.picture], scene.dictionary.sprites[0]
    wanted = [(100 / 255 - 0.1) / 0.5, 50 / 255 / 0.5, float(was[2, 1, 1])]  # blue is gone, and stays as it was
    assert picture[:3, 1, 1].tolist() == pytest.approx(wanted, abs=1e-6)


def test_a_scaled_sprite_is_repainted_where_it_is_seen():
    matrix = Transform.of_matrix(np.array([[3.0, 0, 4], [0, 3.0, 5], [0, 0, 1]]), SIZE)
    scene = scene_of((matrix,), (Transform.shift(30, 20, SIZE),))
    places = [(x, y) for x in range(7, 13) for y in range(8, 14)]
    (operation,) = (found := compare(scene, document_of(scene, dot(*places)), everywhere)).sprites
    picture, was = found.pictures[operation.picture], scene.dictionary.sprites[0]
    changed = (picture - was).abs().amax(0) > 0.02
    assert changed[1:3, 1:3].all()
    assert not changed[4:].any()
    assert (picture[:3, 1, 1] * 255).tolist() == pytest.approx([10, 200, 30], abs=1)


def test_only_here_leaves_the_sprite_alone():
    scene = scene_of((Transform.shift(2, 1, SIZE),), (Transform.shift(20, 3, SIZE),))
    found = compare(scene, document_of(scene, dot((3, 2))), lambda asked: False)
    (operation,) = found.operations
    assert isinstance(operation, Paste)
    assert not found.sprites
    assert found.words == ["sprite-00 [layer-00]: repainted, only here"]


def test_moved_and_painted_on_is_both():
    scene = scene_of((Transform.shift(2, 1, SIZE),), (Transform.shift(20, 3, SIZE),))

    def change(number, pixels):
        return dot((9, 7))(number, np.roll(pixels, (5, 6), (0, 1))) if number == 0 else pixels

    found = compare(scene, document_of(scene, change), everywhere)
    (move,) = found.operations
    assert isinstance(move, Move)
    assert (move.dx, move.dy) == (6, 5)
    (operation,) = found.sprites
    assert ((found.pictures[operation.picture] != scene.dictionary.sprites[0]).any(0)).sum() == 1


def test_a_sprite_of_the_dictionary_is_recognised_when_it_is_added():
    scene = scene_of((Transform.shift(2, 1, SIZE),))
    other = dataclasses.replace(scene, layers=())
    found = compare(other, document_of(scene), everywhere)
    assert [type(each).__name__ for each in found.operations] == ["Add", "Move"]
    assert not found.pictures


def test_what_lies_under_alpha_0_does_not_count():
    scene = scene_of((Transform.shift(2, 1, SIZE),))

    def change(number, pixels):
        pixels[pixels[..., 3] == 0] = (200, 10, 10, 0)
        return pixels

    found = compare(scene, document_of(scene, change), everywhere)
    assert (found.operations, found.sprites, found.words) == ([], [], [])


# ---- Whole imports --------------------------------------------------------------------------------------------------


def repaint_layer(path, number, colour):
    """Paint a pixel in the middle of one layer of an .ora file, counted from the front."""
    import io
    import re
    import zipfile

    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    source = re.findall(rb'src="([^"]+)"', members["stack.xml"])[number].decode()
    picture = Image.open(io.BytesIO(members[source])).convert("RGBA")
    picture.putpixel((picture.width // 2, picture.height // 2), colour)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, buffer.getvalue() if name == source else data)


def test_a_shared_sprite_is_asked_for_and_changes_every_image(tmp_path):
    save_scenes(as_set(clip(4)), tmp_path / "scenes", 10.0)
    files = write_openraster(load_scenes(tmp_path / "scenes"), tmp_path / "ora").files
    front = read_openraster(files[1]).layers[-1]
    assert "[layer" in front.name
    repaint_layer(files[1], 0, (1, 2, 3, 255))
    before = {path: path.read_bytes() for path in (tmp_path / "scenes").rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="Say --everywhere to change the sprite, or --only-here"):
        import_edited(files[1], tmp_path / "scenes")
    assert {path: path.read_bytes() for path in (tmp_path / "scenes").rglob("*") if path.is_file()} == before
    asked = []
    import_edited(
        files[1],
        tmp_path / "scenes",
        repaint=lambda repaint, others: asked.append(others) or "only-here",
        out=tmp_path / "here",
    )
    assert asked[0] > 0
    imported = import_edited(tmp_path / "ora", tmp_path / "scenes", repaint="everywhere")
    assert imported.edits == 1
    here, there, was = load_scenes(tmp_path / "here"), load_scenes(tmp_path / "scenes"), clip(4)
    changed = [
        [float((a.composite() - b.composite()).abs().max()) > 0.1 for a, b in zip(c, was, strict=True)]
        for c in (here, there)
    ]
    assert changed[0] == [False, True, False, False, False]
    assert sum(changed[1]) > 1


def test_a_sprite_repainted_in_two_ways_is_refused_and_in_two_places_joined(tmp_path):
    scenes = clip(4)
    files = write_openraster(scenes, tmp_path).files
    repaint_layer(files[1], 0, (1, 2, 3, 255))
    repaint_layer(files[2], 0, (250, 2, 3, 255))
    names = {read_openraster(path).layers[-1].name.split()[0] for path in files[1:3]}
    assert len(names) == 1  # one sprite
    with pytest.raises(ConfigError, match=r"repainted in two ways, in shot/1\.png and in shot/2\.png"):
        import_edited(tmp_path, scenes, repaint="everywhere")
    repaint_layer(files[2], 0, (1, 2, 3, 255))
    assert import_edited(tmp_path, scenes, repaint="everywhere").edits == 1


@pytest.mark.parametrize("write", [write_atlas, write_aseprite])
def test_a_sheet_that_was_painted_on_changes_its_sprites(tmp_path, write):
    scenes = clip(4)
    picture, document = write(scenes, tmp_path).files
    assert import_edited(document, scenes).edits == 0
    rows = json.loads(document.read_text())["frames"]
    row = rows["sprite-02"] if isinstance(rows, dict) else next(row for row in rows if row["filename"] == "sprite-02")
    box = row["frame"]
    with Image.open(picture) as image:
        sheet = np.array(image.convert("RGBA"))
    sheet[box["y"] + 4, box["x"] + 4] = (9, 8, 7, 255)
    Image.fromarray(sheet).save(picture)
    imported = import_edited(document, scenes)
    assert imported.words == {str(document): ["sprite-02: repainted everywhere"]}
    changed = (imported.scenes.dictionary.sprites[2] != scenes[0].dictionary.sprites[2]).any(0)
    assert changed.sum() == 1
    assert (imported.scenes.dictionary.sprites[2][:, changed] * 255).round().flatten().tolist() == [9, 8, 7, 255]


def test_a_sheet_packed_anew_and_turned_is_read(tmp_path):
    scenes = clip(4)
    sprite = np.rint(scenes[0].dictionary.sprites[5].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    sheet = np.zeros((20, 20, 4), np.uint8)
    sheet[3 : 3 + sprite.shape[1], 2 : 2 + sprite.shape[0]] = np.rot90(sprite, -1)
    Image.fromarray(sheet).save(tmp_path / "packed.png")
    height, width = sprite.shape[:2]
    row = {"filename": "sprite-05.png", "frame": {"x": 2, "y": 3, "w": width, "h": height}, "rotated": True}
    (tmp_path / "packed.json").write_text(json.dumps({"frames": [row], "meta": {"image": "../packed.png"}}))
    assert import_edited(tmp_path / "packed.json", scenes).edits == 0
    row["frame"]["x"] = 19
    (tmp_path / "packed.json").write_text(json.dumps({"frames": [row], "meta": {"image": "packed.png"}}))
    with pytest.raises(FormatError, match=r"packed\.json: frame 'sprite-05': .* is not on"):
        import_edited(tmp_path / "packed.json", scenes)


def test_tiles_that_were_painted_on_change_their_sprite(tmp_path):
    scenes = clip(4)
    write_tiled(scenes, tmp_path)
    with Image.open(tmp_path / "tiles.png") as image:
        tiles = np.array(image.convert("RGBA"))
    tiles[2, 3] = (9, 8, 7, 255)
    Image.fromarray(tiles).save(tmp_path / "tiles.png")
    imported = import_edited(tmp_path, scenes, repaint="everywhere")
    assert imported.edits == 1
    assert (imported.scenes.dictionary.sprites[3] != scenes[0].dictionary.sprites[3]).any(0).sum() == 1


# ---- Files of real programs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["krita.ora", "krita.psd"])
def test_what_krita_saved_untouched_is_untouched(name):
    imported = import_edited(FILES / name, clip(5), scene="shot/2.png")
    assert (imported.edits, imported.remarks) == (0, {})


def test_what_was_done_in_gimp_is_understood():
    imported = import_edited(FILES / "gimp-edited.psd", clip(5), scene="shot/2.png")
    assert imported.words["shot/2.png"] == [
        "sprite-00: moved by -2 across and -14 down",
        "sprite-03 [layer-09]: opacity 1.00 -> 0.50",
        "sprite-03 [layer-10]: flipped left to right",
        "sprite-02: renamed to 'renamed by hand'",
        "sprite-03 [layer-08]: deleted",
        "sprite-05 copy: a copy of sprite-05",
        "sprite-00: now at 1 from the back",
    ]
    assert imported.remarks == {"shot/2.png": ["the background stays behind all other layers"]}


def aseprite_file(depth, cels, layers=(("Layer 1", 1, 0, 0, 0, 255),), frames=1, palette=()):
    """Write a small file as the specification says: cels are (frame, layer, x, y, opacity, type, payload)."""

    def chunk(kind, body):
        return struct.pack("<IH", 6 + len(body), kind) + body

    parts = []
    for number in range(frames):
        chunks = []
        if number == 0:
            if palette:
                body = struct.pack("<III8x", len(palette), 0, len(palette) - 1)
                chunks.append(chunk(0x2019, body + b"".join(struct.pack("<H4B", 0, *colour) for colour in palette)))
            for name, flags, kind, level, blend, opacity in layers:
                text = name.encode()
                body = struct.pack("<HHHHHHB3xH", flags, kind, level, 0, 0, blend, opacity, len(text)) + text
                chunks.append(chunk(0x2004, body))
        for frame, layer, x, y, opacity, kind, payload in cels:
            if frame == number:
                chunks.append(chunk(0x2005, struct.pack("<HhhBHh5x", layer, x, y, opacity, kind, 0) + payload))
        data = b"".join(chunks)
        parts.append(struct.pack("<IHHH2xI", 16 + len(data), 0xF1FA, len(chunks), 100, len(chunks)) + data)
    body = b"".join(parts)
    head = struct.pack(
        "<IHHHHHIH8xB3xHBBhhHH84x", 128 + len(body), 0xA5E0, frames, 8, 6, depth, 1, 100, 0, 0, 1, 1, 0, 0, 1, 1
    )
    return head + body


def test_aseprite_files_of_every_depth_and_kind_of_cel_are_read(tmp_path):
    path = tmp_path / "a.aseprite"
    pixels = bytes([0, 1, 2, 1])
    raw, packed = struct.pack("<HH", 2, 2) + pixels, struct.pack("<HH", 2, 2) + zlib.compress(pixels)
    cels = [(0, 0, 3, -1, 128, 0, raw), (1, 0, 0, 0, 255, 1, struct.pack("<H", 0)), (2, 0, 1, 1, 255, 2, packed)]
    path.write_bytes(aseprite_file(8, cels, frames=3, palette=[(9, 9, 9, 255), (255, 0, 0, 255), (0, 0, 255, 128)]))
    first, second, third = read_aseprite(path)
    (layer,) = first.layers
    assert (layer.left, layer.top, layer.opacity) == (3, -1, pytest.approx(128 / 255))
    assert layer.pixels.tolist() == [[[0, 0, 0, 0], [255, 0, 0, 255]], [[0, 0, 255, 128], [255, 0, 0, 255]]]
    assert (second.layers[0].pixels == layer.pixels).all()
    assert (second.layers[0].left, second.layers[0].top) == (3, -1)  # linked cels share their place
    assert (third.layers[0].pixels == layer.pixels).all()
    grey = struct.pack("<HH", 1, 1) + bytes([77, 200])
    layers = [("group", 0, 1, 0, 0, 255), ("inside", 1, 0, 1, 3, 128)]
    path.write_bytes(aseprite_file(16, [(0, 1, 0, 0, 255, 0, grey)], layers))
    (document,) = read_aseprite(path)
    assert document.layers[0].pixels.tolist() == [[[77, 77, 77, 200]]]
    assert not document.layers[0].visible  # its group is not
    assert document.layers[0].opacity == pytest.approx(128 / 255)
    assert document.remarks == ("'inside' is blended by mode 3; taken as normal",)


def test_groups_and_blend_modes_of_openraster_are_taken_apart(tmp_path):
    import io
    import zipfile

    buffer = io.BytesIO()
    Image.new("RGBA", (2, 2), (1, 2, 3, 255)).save(buffer, "PNG")
    stack = (
        '<image w="8" h="6"><stack><stack name="g" opacity="0.5" visibility="hidden">'
        '<layer name="front" src="data/a.png" x="1" y="2" opacity="0.5" composite-op="svg:multiply"/></stack>'
        '<layer name="back" src="data/a.png"/></stack></image>'
    )
    path = tmp_path / "a.ora"

    def write(text):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("stack.xml", text)
            archive.writestr("data/a.png", buffer.getvalue())

    write(stack)
    document = read_openraster(path)
    assert [(x.name, x.left, x.top, x.opacity, x.visible) for x in document.layers] == [
        ("back", 0, 0, 1.0, True),
        ("front", 1, 2, 0.25, False),
    ]
    assert document.remarks == ("'front' is blended by 'svg:multiply'; taken as normal",)
    write('<!DOCTYPE x [<!ENTITY a "b">]>' + stack)
    with pytest.raises(FormatError, match=r"a\.ora: stack.xml declares a document type"):
        read_openraster(path)
    write(stack.replace('w="8"', 'w="99999999"'))
    with pytest.raises(FormatError, match=r"a\.ora: the canvas is 99999999 x 6 pixels"):
        read_openraster(path)


def test_masks_and_groups_of_photoshop_are_applied(tmp_path):
    psd_tools = pytest.importorskip("psd_tools")
    document = psd_tools.PSDImage.new("RGBA", (8, 6))
    group = document.create_group(name="g")
    group.opacity = 128
    layer = document.create_pixel_layer(Image.new("RGBA", (4, 4), (10, 20, 30, 255)), name="x", top=1, left=2)
    layer.create_mask(Image.new("L", (4, 4), 128))
    layer.move_to_group(group)
    document.save(tmp_path / "a.psd")
    (layer,) = read_psd(tmp_path / "a.psd").layers
    assert (layer.top, layer.left, layer.opacity) == (1, 2, pytest.approx(128 / 255))
    assert np.unique(layer.pixels[..., 3]).tolist() == [128]


def test_what_cannot_be_imported_is_said(tmp_path):
    scenes = clip(4)
    with pytest.raises(DataError, match="there is no such file"):
        import_edited(tmp_path / "a.ora", scenes)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"ends with \.ora, \.psd"):
        import_edited(tmp_path / "a.txt", scenes)
    with pytest.raises(ConfigError, match="none; expected files of one kind"):
        import_edited(tmp_path, scenes)
    path = write_openraster(scenes, tmp_path).files[0]
    other = path.rename(tmp_path / "elsewhere.ora")
    with pytest.raises(ConfigError, match="expected to find its scene 'elsewhere'"):
        import_edited(other, scenes)
    assert import_edited(other, scenes, scene="shot/0.png").edits == 0
    small = Document("file", (3, 3), ())
    with pytest.raises(FormatError, match="canvas is 3 x 3 pixels; expected 60 x 40"):
        compare(scenes[0], small, everywhere)
    (tmp_path / "b.aseprite").write_bytes(aseprite_file(32, []))
    with pytest.raises(FormatError, match="has 1 frames for 5 scenes"):
        import_edited(tmp_path / "b.aseprite", scenes)


@pytest.mark.parametrize("kind", ["ora", "aseprite", "atlas", "tiled"])
def test_a_whole_export_comes_back_with_what_says_what_is_finished(tmp_path, kind):
    save_scenes(as_set(clip(5)), tmp_path / "scenes", 10.0)
    export(tmp_path / "scenes", tmp_path / "out", kind)
    assert (tmp_path / "out" / "exported.json").exists()
    assert import_edited(tmp_path / "out", tmp_path / "scenes").edits == 0


def test_the_command_says_what_it_understood(tmp_path, command):
    save_scenes(as_set(clip(5)), tmp_path / "scenes", 10.0)
    words = [str(FILES / "gimp-edited.psd"), str(tmp_path / "scenes"), "--scene", "shot/2.png"]
    code, out, _ = command("import", *words, "--dry-run")
    assert code == 0
    assert "nothing saved" in out
    code, out, err = command("import", *words)
    assert code == 0
    assert "shot/2.png: sprite-02: renamed to 'renamed by hand'" in out
    assert "the background stays behind" in err
    saved = load_scenes(tmp_path / "scenes")
    assert "renamed by hand" in {layer.name for layer in saved[2].layers}
    assert np.abs(composite(saved[1]) - composite(clip(5)[1])).max() < 0.01
    code, _, err = command("import", *words, "--everywhere", "--only-here")
    assert code != 0
    assert "expected one of them" in err


def test_operations_that_imports_bring_are_kept_by_journals():
    from delaminate.scene.operations import operation_document, operation_from

    given = [
        Paste(scene="a", layer="b", picture="c", left=-3, top=4),
        Insert(scene="a", picture="c", left=1, top=2, name="n"),
        RepaintSprite(sprite="sprite-00", picture="c", left=-1, top=-2),
    ]
    assert [operation_from(operation_document(each), "here") for each in given] == given
    older = {"operation": "repaint-sprite", "sprite": "sprite-00", "picture": "c"}
    assert operation_from(older, "here") == RepaintSprite(sprite="sprite-00", picture="c")
    assert from_pixels(np.zeros((1, 1, 4), np.uint8)).shape == (4, 1, 1)

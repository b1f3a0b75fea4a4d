"""A clip on its way: decompose states its rate, edits keep it, exports and recomposition use it."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from delaminate.files import png_bytes
from delaminate.rng import stream
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.loading import load_scenes
from delaminate.scene.placements import Dictionary, Placement, Transform
from delaminate.scene.saving import save_scenes
from delaminate.scene.summary import load_rate


def drawn(count, sprites=4, each=3, size=(48, 64), seed=0):
    """A clip of moved and mirrored sprites of 8 bits."""
    rng = stream("clips", seed)
    pictures = [(torch.rand(4, 8, 6, generator=rng) * 255).round() / 255 for _ in range(sprites)]
    images = []
    for _ in range(count):
        placements = []
        for _ in range(each):
            entry, left, top, turned = (
                int(torch.randint(high, (), generator=rng)) for high in (sprites, size[1] - 6, size[0] - 8, 2)
            )
            where = Transform.mirror(left, top, 6, size) if turned else Transform.shift(left, top, size)
            placements.append(Placement(entry, (where,), track=entry))
        images.append(tuple(placements))
    names = [f"frame-{number}.png" for number in range(count)]
    return Decomposition(Dictionary(tuple(pictures)), tuple(images), size).scenes(names)


def test_a_clips_rate_is_written_kept_by_edits_and_used(command, model, tmp_path):
    frames = [Image.fromarray(np.full((35, 35, 3), 20 * i, np.uint8)) for i in range(3)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], duration=40)
    code, _, err = command("decompose", model, tmp_path / "clip.gif", "--out", tmp_path / "scenes")
    assert code == 0, err
    assert len(load_scenes(tmp_path / "scenes")) == 3
    assert load_rate(tmp_path / "scenes") == 25
    words = ("hide", "--layer", "layer-00", "--out", tmp_path / "edited")
    assert command("edit", tmp_path / "scenes", *words)[0] == 0
    assert load_rate(tmp_path / "edited") == 25
    words = ("--to", "apng,placements", "--out", tmp_path / "out")
    assert command("export", tmp_path / "edited", *words)[0] == 0
    table = json.loads((tmp_path / "out" / "placements" / "placements.json").read_text())
    assert table["rate"] == 25
    assert command("export", tmp_path / "edited", "--rate", "5", *words)[0] == 0
    table = json.loads((tmp_path / "out" / "placements" / "placements.json").read_text())
    assert table["rate"] == 5


def test_folders_of_images_and_older_scenes_have_no_rate(scenes):
    assert load_rate(scenes) is None
    assert "rate" not in json.loads((scenes / "summary.json").read_text())


@pytest.mark.parametrize("rate", ['"25"', "0", "true", "1e9"])
def test_rates_that_are_none_are_refused(command, tmp_path, rate):
    save_scenes(drawn(1), tmp_path, 25.0)
    text = (tmp_path / "summary.json").read_text()
    (tmp_path / "summary.json").write_text(text.replace('"rate": 25.0', f'"rate": {rate}'))
    code, _, err = command("export", tmp_path, "--to", "gif", "--out", tmp_path / "out")
    assert code == 2
    assert "rate" in err
    assert not (tmp_path / "out").exists()


def test_a_rate_on_the_command_line_that_is_none_is_refused(command, tmp_path):
    save_scenes(drawn(1), tmp_path)
    code, _, err = command("export", tmp_path, "--to", "png,gif", "--rate", "0", "--out", tmp_path / "out")
    assert code == 2
    assert "frames per second" in err
    assert not (tmp_path / "out").exists()


def test_frames_come_in_natural_order_and_with_their_ground_when_asked(command, tmp_path):
    shown = drawn(11)
    background = Placement(-1, (Transform.shift(0, 0, (48, 64)),), raster=torch.ones(4, 48, 64))
    shown = [
        replace(s, layers=(replace(s.layers[0], id="background", placement=background), *s.layers), background=True)
        for s in shown
    ]
    save_scenes([*shown[1:], shown[0]], tmp_path / "scenes")
    words = ("export", tmp_path / "scenes", "--to", "placements,apng", "--out", tmp_path / "out")
    assert command(*words)[0] == 0
    table = json.loads((tmp_path / "out" / "placements" / "placements.json").read_text())
    assert [frame["image"] for frame in table["frames"]] == [f"frame-{number}.png" for number in range(11)]
    with Image.open(tmp_path / "out" / "apng" / "clip.png") as image:
        assert np.asarray(image.convert("RGBA"))[..., 3].min() == 0
    assert command(*words, "--ground")[0] == 0
    with Image.open(tmp_path / "out" / "apng" / "clip.png") as image:
        assert np.asarray(image.convert("RGBA"))[..., 3].min() == 255


def test_the_help_of_export_names_every_format_and_its_extra(command):
    from delaminate.exporters import FORMATS

    _, out, _ = command("export", "--help")
    flat = " ".join(out.replace("│", " ").split())
    assert ", ".join(FORMATS) in flat
    for name, form in FORMATS.items():
        extra = f" (extra: {form.extra})" if form.extra else ""
        assert f"{name}: {form.about}{extra}" in flat, name


def test_what_was_not_explained_reaches_the_page(command, scenes, tmp_path):
    assert len(list((scenes / "residuals").glob("*.png"))) == 5
    assert command("export", scenes, "--to", "html", "--out", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "html" / "report.html").read_text().count("Not explained (") == 5


def test_one_sprite_drawn_anew_changes_every_frame_that_shows_it(command, tmp_path):
    frames = drawn(6, sprites=120, each=40)
    save_scenes(frames, tmp_path / "scenes")
    names = [path.name for path in sorted((tmp_path / "scenes" / "dictionary").iterdir())]
    assert len(names) == 120
    assert "sprite-119.png" in names
    entry = frames[0].layers[0].placement.entry
    new = torch.cat([torch.tensor([1.0, 0, 1]).view(3, 1, 1).expand(3, 8, 6), torch.ones(1, 8, 6)])
    new[1, :, :2] = 1  # left and right differ, so that mirrored ones can be told
    path = tmp_path / "scenes" / "dictionary" / f"sprite-{entry:02d}.png"
    path.write_bytes(png_bytes((new.permute(1, 2, 0).numpy() * 255).astype(np.uint8)))
    assert command("recompose", tmp_path / "scenes", "--out", tmp_path / "out")[0] == 0
    touched = 0
    for scene in frames:
        sprites = (*scene.dictionary.sprites[:entry], new, *scene.dictionary.sprites[entry + 1 :])
        expected = replace(scene, dictionary=Dictionary(sprites)).composite()
        pixels = torch.from_numpy(np.asarray(Image.open(tmp_path / "out" / scene.name)).copy()) / 255
        shown = (pixels[..., :3] * pixels[..., 3:]).permute(2, 0, 1)
        assert (shown - expected).abs().max() < 0.004
        uses = any(layer.placement.entry == entry for layer in scene.layers)
        assert bool((scene.composite() != expected).any()) == uses
        touched += uses
    assert touched > 1


@pytest.mark.slow
def test_a_long_clip_is_recomposed_in_seconds(command, tmp_path):
    save_scenes(drawn(300, sprites=120, each=60), tmp_path / "scenes", 25.0)
    started = time.process_time()
    assert command("recompose", tmp_path / "scenes", "--out", tmp_path / "out")[0] == 0
    assert time.process_time() - started < 30
    assert len(list((tmp_path / "out").iterdir())) == 300

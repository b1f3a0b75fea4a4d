"""What the library does, as hashes: to show that a change of the code changed no result.

    python tools/behaviour.py before.json                      # before the change
    python tools/behaviour.py after.json --against before.json # after it; says what differs,
    and ends with 1 if anything does

Everything goes through the command line, whose words stay: the weights of a 20-step training of every tiny configuration
below, what every model in the box finds in fixed images, every export of one folder of scenes, and the settings of every
preset. One thread, on the CPU; equal hashes are expected on one machine with one version of torch.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["COLUMNS"] = "200"

SEARCH = "image_size=[16,16] search_steps=4 search_batch=6 steps=6 batch=4"
DTI = (
    f"{SEARCH} sprite_size=[8,8] num_sprites=3 num_layers=2 background=false alpha_sigma=2 search_price=0.5 distil_steps=3 "
    "distil_batch=4 reassign_every=2 reassign_below=2.9 frozen_steps=2 algorithm=adamw cosine=true clip=1.0 ema=0.9 "
    "soft_occlusion=false readout=pooled encoder=resnet32 milestones=[]"
)
MARIONETTE = "image_size=[32,32] sprite_size=16 num_sprites=4 code_width=8 batch=2 steps=10"
REDO = (
    "image_size=[16,16] num_regions=3 mask_width=8 generator_width=2 discriminator_width=16 noise_width=4 batch=2 warm_steps=4 "
    "steps=10 rate=0.001 mask_rate=0.001 late_decay=0.5 ema=0.9 area_weight=5.0 least_area=0.4 area_steps=3 augment_below=100 "
    "distil_steps=6"
)
GAN = (
    "image_size=[16,16] noise_width=4 mapping_depth=1 width=2 most_channels=4 penalty_every=2 ramp_steps=2 augment_below=100 "
    "ema=0.9 rate=0.001 encoder_batch=2 encoder_depth=32 segmenter_steps=4 segmenter_batch=2 segmenter_width=8 restarts=0"
)
TRAININGS = {
    "dti-sprites/search": ("dti-sprites", "tetrominoes", "small", f"{DTI} encoder_visits=1"),
    "dti-sprites/peaks": ("dti-sprites", "tetrominoes", "small",
    f"{DTI} readout=peaks reassign_every=0 ema=0 sprite_rate=0.1"),
    "dti-sprites/paper": (
        "dti-sprites", "multi-dsprites-paper", "small",
        "image_size=[16,16] sprite_size=[8,8] steps=20 batch=4 reassign_every=2 reassign_below=2.9 frozen_steps=2 "
        "unlock_steps=[3] milestones=[8]",
    ),
    "dti-sprites/whole": (
        "dti-sprites", "gtsrb8", "small",
        "image_size=[16,16] sprite_size=[16,16] steps=20 batch=6 unlock_steps=[3,6] num_sprites=3",
    ),
    "dti-sprites/parity": (
        "dti-sprites", "clevr6-parity", "small",
        "image_size=[16,16] sprite_size=[8,8] steps=10 batch=4 num_layers=2 num_sprites=2 unlock_steps=[3] frozen_steps=2",
    ),
    "dti-sprites/regions": (
        "dti-sprites", "multi-dsprites", "multi-dsprites", "search_batch=40 num_sprites=4",
    ),
    "marionette/paper": ("marionette", "floating-sprites-paper", "frames", f"{MARIONETTE} steps=20"),
    "marionette/parity": ("marionette", "video-parity", "frames", f"{MARIONETTE} background_width=2"),
    "marionette/search": (
        "marionette", "floating-sprites", "floating-sprites",
        "num_sprites=12 code_width=8 search_steps=2 search_batch=8 distil_steps=4 distil_batch=2 batch=2 steps=6",
    ),
    "redo": ("redo", "photos", "small", f"{REDO} bf16=false settled=0"),
    "redo/paper": ("redo", "colored-2-mnist-paper", "small", f"{REDO} distil_steps=0 warm_steps=0 steps=20"),
    "perturbgan/growing": (
        "perturbgan", "lsun-object-paper", "small",
        f"{GAN} first_side=8 grow_images=12 grow_batches=[4,4] encoder_steps=4",
    ),
    "perturbgan/photos": (
        "perturbgan", "photos", "small", f"{GAN} batch=4 steps=10 self_training_steps=4 encoder_steps=4 watch_share=0",
    ),
}  # fmt: skip


def command(*words: object) -> str:
    """Run a command of the library in this process; return what it printed."""
    from delaminate.cli import main

    said = io.StringIO()
    sys.argv = ["delaminate", *map(str, words)]
    try:
        with contextlib.redirect_stdout(said):
            main()
    except SystemExit as left:
        if left.code:
            raise SystemExit(f"{' '.join(sys.argv)}: ended with {left.code}") from None
    return said.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def weights(run: Path) -> dict[str, str]:
    """Hash every tensor of a run's state, and those of the model that it left."""
    import torch
    from safetensors.torch import load_file

    state = torch.load(run / "checkpoint.pt", weights_only=True)["weights"]
    found = {f"state {name}": value for name, value in state.items()}
    found |= {f"model {name}": value for name, value in load_file(run / "model" / "model.safetensors").items()}
    return {name: digest(value.contiguous().numpy().tobytes()) for name, value in sorted(found.items())}


def tree(folder: Path) -> dict[str, str]:
    """Hash every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): digest(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def squares(folder: Path, count: int, side: int, ground: int) -> None:
    """Write drawn images: a square of random colour, and in two of three a bar."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    for index in range(count):
        image = np.full((side, side, 3), ground, np.uint8)
        for height, width in ((4, 4), (2, 6))[: 1 + (index % 3 > 0)]:
            top, left = rng.integers(0, side - 6, 2)
            colour = (80, 160, 240) if ground else rng.integers(80, 256, 3)
            image[top : top + height, left : left + width] = colour
        Image.fromarray(image).save(folder / f"{index:03d}.png")


def photo(path: Path, height: int, width: int) -> None:
    """Write a picture with an object in the middle of a textured ground."""
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[:height, :width]
    image = np.stack([90 + 40 * np.sin(x / 7), 120 + 50 * np.cos(y / 9 + x / 30), 80 + 30 * np.sin((x + y) / 11)], 2)
    inside = ((y - height / 2) / (0.3 * height)) ** 2 + ((x - width / 2) / (0.25 * width)) ** 2 < 1
    image[inside] = (220, 60, 90) + 20 * np.sin(x[inside] / 3)[:, None]
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)


def trainings(data: dict[str, str], place: Path) -> Iterator[tuple[str, Any]]:
    for name, (method, preset, images, settings) in TRAININGS.items():
        run = place / "runs" / name
        words = [word for setting in settings.split() for word in ("--set", setting)]
        command(
            "train", method, data[images], "--preset", preset, *words, "--out", run, "--steps", 20, "--quiet", "--device",
            "cpu", "--seed", 3, "-n", 40,
        )  # fmt: skip
        yield f"weights of {name}", weights(run)


def decompositions(data: dict[str, str], place: Path) -> Iterator[tuple[str, Any]]:
    from delaminate import zoo

    for name in zoo.names():
        method, kind = name.split("/")
        drawn = method in ("dti-sprites", "marionette")
        images = data.get(kind, data["platform-game"]) if drawn else data["photos"]
        out = place / "scenes" / name
        command(
            "decompose", name, images, "--out", out, "-n", 3, "--device", "cpu", *(() if drawn else ("--fit", "crop"))
        )
        yield f"scenes of {name}", tree(out)


def exports(place: Path) -> Iterator[tuple[str, Any]]:
    for name in ("dti-sprites/tetrominoes", "redo/flowers17"):
        of_sprites = name.startswith("dti")
        kinds = "png,masks,ora,psd,svg,placements,coco,html"
        if of_sprites:  # and frames of one size
            kinds += ",atlas,tiled,aseprite,ase,gif,apng,webp"
        out = place / "exports" / name
        command("export", place / "scenes" / name, "--to", kinds, "--out", out)
        yield f"exports of {name}", tree(out)
        command("recompose", place / "scenes" / name, "--out", out / "recomposed")
        yield f"images recomposed of {name}", tree(out / "recomposed")


def settings(presets: dict[str, list[str]]) -> Iterator[tuple[str, Any]]:
    import yaml

    for method, names in presets.items():
        for name in names:
            text = command("train", method, "nothing", "--preset", name, "--print-config")
            yield f"settings of {method} {name}", yaml.safe_load(text)


def known_presets() -> dict[str, list[str]]:
    from delaminate.methods import METHODS

    return {name: list(method.presets) for name, method in METHODS.items()}


def current(method: str, values: dict[str, Any]) -> dict[str, Any]:
    """Settings under the names and values that they have now."""
    from delaminate.config import current_names
    from delaminate.methods import METHODS

    return current_names(type(next(iter(METHODS[method].presets.values()))), values)


def report(now: dict[str, Any], before: dict[str, Any]) -> int:
    """Say what differs; return how many things do."""
    wrong = 0
    for name in before.keys() | now.keys():
        old, new = before.get(name), now.get(name)
        if name.startswith("settings of ") and old is not None:
            old = current(name.split()[2], old)
        if old == new:
            continue
        wrong += 1
        if not isinstance(old, dict) or not isinstance(new, dict):
            print(f"{name}: {'gone' if new is None else 'new'}")
            continue
        keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        print(f"{name}: {len(keys)} of {len(old)} differ: {', '.join(keys[:6])}{' ...' if len(keys) > 6 else ''}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--presets", type=Path, help="JSON of method to names of presets; default: those there are.")
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    found: dict[str, Any] = {"torch": torch.__version__}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        asked.out, asked.against = asked.out.resolve(), asked.against and asked.against.resolve()
        presets = json.loads(asked.presets.read_text()) if asked.presets else known_presets()
        os.chdir(place)  # paths that end up in files are the same wherever this runs
        data = {name: name for name in ("tetrominoes", "multi-dsprites", "platform-game", "floating-sprites")}
        for name, count, side, ground in (("small", 40, 16, 0), ("frames", 24, 32, 40)):
            squares(Path(name), count, side, ground)
            data[name] = name
        Path("photos").mkdir()
        for index, (height, width) in enumerate(((64, 64), (96, 150), (201, 133))):
            photo(Path("photos") / f"{index}.png", height, width)
        data["photos"] = "photos"
        for part in (trainings(data, Path()), decompositions(data, Path()), exports(Path()), settings(presets)):
            for name, value in part:
                found[name] = value
                print(f"{name}: {digest(json.dumps(value, sort_keys=True).encode())}", flush=True)
    asked.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    if not asked.against:
        return 0
    before = json.loads(asked.against.read_text())
    wrong = report(found, before)
    print(f"{len(found)} compared, {wrong} differ")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

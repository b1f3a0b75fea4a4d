"""A new scene among others: an empty canvas on which their sprites are laid out."""

import dataclasses
import json
from pathlib import Path

from delaminate.errors import ConfigError
from delaminate.files import json_bytes, png_bytes, to_pixels, write_atomic
from delaminate.scene.format import MAX_SCENES, SUMMARY, scene_document
from delaminate.scene.loading import load_scenes
from delaminate.scene.packing import Packed
from delaminate.scene.scenes import Scene
from delaminate.scene.summary import read_summary


def add_scene(scenes: str | Path, name: str, like: str | None = None, background: bool = True) -> Scene:
    """Add a scene to a folder of scenes, as large as another one and with nothing on it but that one's background.

    Args:
        scenes: A folder of scenes, not packed.
        name: What it is called: a relative path with `/`, that no other scene has.
        like: The name of the other; None: the first.
        background: With its background; else there is nothing at all.

    Raises:
        ConfigError: The name is taken or no name of a scene; there is no such other; or the scenes are packed.
        FormatError: The folder is damaged.
        OutputError: A file cannot be written.
    """
    folder, found = Path(scenes), load_scenes(scenes)
    if not found.names:
        raise ConfigError(f"{folder}: holds no scene that a new one could be like.")
    if like is not None and like not in found.names:
        raise ConfigError(f"{folder}: no scene {like!r:.120} here.")
    scene = emptied(found[0 if like is None else found.names.index(like)], name, background)
    save_new_scene(folder, scene)
    return scene


def emptied(scene: Scene, name: str, background: bool = True) -> Scene:
    """A scene of another name with the background of one, or with nothing.

    Raises:
        ConfigError: It is no name of a scene.
    """
    kept = scene.layers[:1] if background and scene.background else ()
    return dataclasses.replace(scene, name=name, layers=kept, background=bool(kept), rounding_error=0.0)


def save_new_scene(folder: Path, scene: Scene) -> None:
    """Write the files of a scene that shows no sprite but a background, and list it; the summary comes last.

    Raises:
        ConfigError: Another scene has its name, or one lies inside the other; or the scenes are packed.
        OutputError: They are too many, or a file cannot be written.
    """
    summary = read_summary(folder)
    _check(folder, scene.name, summary.places)
    place = f"scenes/{scene.name}"
    for layer in scene.layers:
        raster = layer.placement.raster
        if raster is not None:
            write_atomic(folder / place / "layers" / f"{layer.id}.png", png_bytes(to_pixels(raster)))
    write_atomic(folder / place / "scene.json", json_bytes(scene_document(scene)))
    document = json.loads((folder / SUMMARY).read_bytes())
    shown = {scene.dictionary.name(each.placement.entry) for each in scene.layers if each.placement.raster is None}
    for row in document["dictionary"]:
        row["used"] += row["id"] in shown
    document["scenes"].append({"name": scene.name, "layers": len(scene.layers), "rounding_error": 0.0})
    if "durations" in document:
        lasting = document["durations"]
        lasting.append(sum(lasting) / len(lasting))
    write_atomic(folder / SUMMARY, json_bytes(document))


def _check(folder: Path, name: str, places: dict[str, Packed | None]) -> None:
    if any(place is not None for place in places.values()):
        raise ConfigError(f"{folder}: holds packed scenes; give them files of their own by `delaminate scenes unpack`.")
    if len(places) >= MAX_SCENES:
        raise ConfigError(f"{folder}: holds {len(places):,} scenes, as many as there may be.")
    folded = name.casefold()
    for other in places:
        one, two = folded + "/", other.casefold() + "/"
        if one == two:
            raise ConfigError(f"{folder}: there is a scene {other!r:.120} already; expected another name.")
        if one.startswith(two) or two.startswith(one):
            raise ConfigError(f"{folder}: {name!r:.120} and the scene {other!r:.120} would lie inside one another.")

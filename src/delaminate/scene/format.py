"""The format of scenes on disk, JSON and PNG: its bounds, and a scene as a JSON document.

    FOLDER/summary.json                  the dictionary's entries, the scenes' names, a clip's rate and
                                         the durations of its frames, where they differ, and
                                         the blocks of enlarged pixel art
    FOLDER/dictionary/<entry>.png        one sprite each, shared by all scenes
    FOLDER/scenes/<name>/scene.json      layers back to front
    FOLDER/scenes/<name>/layers/*.png    rasters of layers that show no dictionary entry
    FOLDER/residuals/<name>.png          what the layers do not explain, where that was measured
    FOLDER/packs/*.tar                   the same files of scenes and residuals, where they are packed (`packing`)

`docs/scenes.md` describes it and `docs/scene-schema.json` is its schema.
"""

from typing import Any

from delaminate.scene.canvas_map import Blocks
from delaminate.scene.placements import OWN_RASTER
from delaminate.scene.scenes import Scene

SCENE_FORMAT, SUMMARY_FORMAT, VERSION = "delaminate-scene", "delaminate-scenes", 1

# Bounds on what a file may ask for.
MAX_LAYERS, MAX_ENTRIES, MAX_SCENES, MAX_TRANSFORMS = 2**15, 2**15, 2**21, 16
MAX_FILE_BYTES = 2**28
RATES = (0.01, 1000.0)  # frames per second
DURATIONS = (0.001, 1e9)  # milliseconds that a frame is seen
MAX_NUMBER = 1e9  # of a transform's parameters and their inverse


SUMMARY, RESIDUALS = "summary.json", "residuals"


def residual_file(name: str) -> str:
    """Say where the residual of a scene lies, from the folder of scenes."""
    return f"{RESIDUALS}/{name}.png"


def dictionary_row(name: str, background: bool, used: int, title: str = "") -> dict[str, Any]:
    """Describe a dictionary entry in the summary; a title where it has one: older releases do not know it."""
    row = {"id": name, "background": background, "used": used}
    return row | {"title": title} if title else row


def blocks_document(blocks: Blocks) -> dict[str, Any]:
    """Describe the blocks of enlarged pixel art as JSON values."""
    return {
        "step": list(blocks.step),
        "phase": list(blocks.phase),
        "box": list(blocks.box),
        "original": list(blocks.original),
    }


def scene_document(scene: Scene) -> dict[str, Any]:
    """Describe a scene as JSON values; rasters and sprites are named, not included."""
    layers = []
    for layer in scene.layers:
        placement = layer.placement
        shown = {"entry": scene.dictionary.name(placement.entry)}
        if placement.entry == OWN_RASTER:
            shown = {"raster": f"layers/{layer.id}.png"}
        transforms = [
            {"kind": step.kind, "parameters": [float(x) for x in step.parameters], "size": list(step.size)}
            for step in placement.transforms
        ]
        colour = [float(number) for number in placement.colour]
        layers.append(
            {
                "id": layer.id,
                "name": layer.name,
                **shown,
                "transforms": transforms,
                "colour": {"gain": colour[:3], "offset": colour[3:]},
                "opacity": float(placement.opacity),
                "visible": layer.visible,
                "track": placement.track,
            }
        )
    return {
        "format": SCENE_FORMAT,
        "version": VERSION,
        "name": scene.name,
        "canvas": {"height": scene.size[0], "width": scene.size[1]},
        "background": scene.background,
        "rounding_error": scene.rounding_error,
        "layers": layers,
    }

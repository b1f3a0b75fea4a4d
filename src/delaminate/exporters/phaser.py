"""Phaser 3.60 and later: a texture atlas and animations that `this.anims.fromJSON` takes.

    OUT/atlas.png, OUT/atlas.json    as `atlas` writes them: this.load.atlas("atlas", "atlas.png", "atlas.json")
    OUT/animations.json              this.load.animation("animations", "animations.json")

The texture's key is "atlas"; an animation's key is its character's name and its own, such as `character-0-cycle-0`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from delaminate.exporters.atlas import Sheet, atlas_document, draw_clip_sheet, sheet_bytes
from delaminate.exporters.files import ExportResult, write_files
from delaminate.scene.scenes import Scene

TEXTURE = "atlas"


def animations_document(sheet: Sheet, milliseconds: float) -> dict[str, Any]:
    """Phaser's JSON of animations.

    Args:
        sheet: The sheet with its characters.
        milliseconds: How long a frame of the clip is seen, where the characters do not say.
    """
    animations = []
    for character, names in sheet.characters:
        for animation in character.animations:
            durations = animation.durations(milliseconds)
            frames = [
                {"key": TEXTURE, "frame": names[pose], "duration": round(duration, 3)}
                for pose, duration in zip(animation.poses, durations, strict=True)
            ]
            animations.append(
                {
                    "key": f"{character.name}-{animation.name}",
                    "type": "frame",
                    "frames": frames,
                    "frameRate": round(1000 * len(frames) / sum(durations), 6),
                    "repeat": -1 if animation.kind == "cycle" else 0,
                }
            )
    return {"anims": animations, "globalTimeScale": 1}


def write_phaser(
    scenes: Sequence[Scene],
    out: str | Path,
    *,
    rate: float | None = None,
    durations: Sequence[float] | None = None,
    indexed: bool = False,
) -> ExportResult:
    """Write the dictionary as an atlas, and the animations of characters.

    Args:
        scenes: Scenes of one decomposition, in the clip's order.
        out: The folder.
        rate: Frames per second; 10 where it is not known.
        durations: Milliseconds that each scene is seen, instead of a rate.
        indexed: Write the sheet as a PNG with a palette.

    Raises:
        ConfigError: The scenes do not share a dictionary, or the rate is out of range.
        OutputError: The sheet would be too large or has too many colours, or a file cannot be written.
    """
    sheet, milliseconds = draw_clip_sheet(scenes, rate, durations, indexed)
    documents = {"atlas.json": atlas_document(sheet), "animations.json": animations_document(sheet, milliseconds)}
    files = {"atlas.png": sheet_bytes("phaser", sheet, indexed)}
    files.update({name: (json.dumps(each, indent=1) + "\n").encode() for name, each in documents.items()})
    return write_files(out, files, sheet.error(scenes))

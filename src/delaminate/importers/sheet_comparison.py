"""Which sprites were repainted in a sprite sheet."""

from collections.abc import Mapping, Sequence

import numpy as np

from delaminate.exporters.atlas import draw_sheet
from delaminate.exporters.characters import find_characters
from delaminate.exporters.files import covered
from delaminate.files import to_pixels
from delaminate.importers.comparison import Comparison, same_picture
from delaminate.importers.sheets import SheetFrame
from delaminate.scene.collection import shared_dictionary
from delaminate.scene.operations import RepaintSprite
from delaminate.scene.placements import Dictionary, Placement, Transform
from delaminate.scene.scenes import Scene
from delaminate.scene.unwarping import Patch, repainted_sprite


def compare_sheet(scenes: Sequence[Scene], frames: Mapping[str, SheetFrame]) -> Comparison:
    """Find the sprites that look otherwise on a sheet that was exported of the scenes.

    Poses that are a sprite flipped, turned or coloured follow their sprite; repainted themselves they are only remarked on.

    Args:
        scenes: Scenes of one decomposition.
        frames: Of the sheet, by their names.

    Raises:
        ConfigError: The scenes do not share a dictionary.
    """
    dictionary, result = shared_dictionary(scenes), Comparison()
    ours = draw_sheet(dictionary, find_characters(scenes), backgrounds=True)
    names = {dictionary.name(entry): entry for entry in range(len(dictionary))}
    for name, frame in frames.items():
        row = ours.frames.get(name)
        if row is None:
            if not any(name.endswith(f" {known}") for known in ours.frames):  # an animation's frame shows a pose
                result.remarks.append(f"{name!r:.80} is no sprite of these scenes")
            continue
        if name in names:
            _compare_sprite(dictionary, names[name], frame, row["spriteSourceSize"], result)
        else:
            box = row["frame"]
            pixels = ours.pixels[box["y"] : box["y"] + box["h"], box["x"] : box["x"] + box["w"]]
            if not same_picture(_visible(pixels), _visible(frame.pixels)):
                result.remarks.append(
                    f"{name} is made of its sprite and follows it; what was painted on it is left out"
                )
    return result


def _visible(pixels: np.ndarray) -> np.ndarray:
    return pixels[covered(pixels)]


def _compare_sprite(
    dictionary: Dictionary, entry: int, frame: SheetFrame, source: Mapping[str, int], result: Comparison
) -> None:
    was = to_pixels(dictionary.sprites[entry])
    rows, columns = covered(was, 1)  # as sheets are cut
    # Poses of one character lie on a canvas of their own.
    left, top = frame.left - (source["x"] - columns.start), frame.top - (source["y"] - rows.start)
    seen = _visible(frame.pixels)
    inside = covered(frame.pixels)
    place = (top + inside[0].start, left + inside[1].start)
    tight = covered(was)
    if same_picture(seen, was[tight]) and place == (tight[0].start, tight[1].start):
        return
    here = Placement(entry, (Transform.shift(0, 0, was.shape[:2]),))
    repainted = repainted_sprite(dictionary, here, Patch(was, 0, 0), Patch(frame.pixels, top, left))
    assert repainted is not None
    name = dictionary.name(entry)
    operation = RepaintSprite(
        sprite=name, picture=result.keep(repainted.raster), left=repainted.left, top=repainted.top
    )
    result.sprites.append(operation)
    result.words.append(f"{name}: repainted everywhere")

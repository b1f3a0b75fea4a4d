"""Draw scenes from noise."""

from collections.abc import Iterator
from pathlib import Path

import torch

from delaminate.engine.record import Callback
from delaminate.methods import Method, load_model
from delaminate.pipelines.devices import pick_device
from delaminate.pipelines.output_folders import make_room_for_scenes
from delaminate.rng import stream
from delaminate.scene.collection import SceneSet
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.layers import Layers
from delaminate.scene.loading import load_scenes
from delaminate.scene.placements import Dictionary
from delaminate.scene.saving import SceneWriter
from delaminate.scene.scenes import Scene

AT_A_TIME = 64


def sample(
    model: str | Path | Method,
    out: str | Path | None = None,
    *,
    count: int = 64,
    seed: int = 0,
    overwrite: bool = False,
    device: str = "auto",
    callback: Callback | None = None,
) -> SceneSet:
    """Draw scenes from noise: background and foreground, each a layer of its own.

    The first scenes of a seed are the same, however many are asked for.

    Args:
        model: A model that can, or the path or name of one.
        out: A folder for the scenes; None: they stay in memory.
        count: How many.
        seed: Another seed draws other scenes.
        overwrite: Remove the scenes in `out`, edits included.
        device: "auto", "cpu", "cuda" or "cuda:N".
        callback: Is told how far it is.

    Raises:
        ConfigError: The model paints nothing from noise, or `out` holds scenes.
    """
    where = pick_device(device)
    method = model.to(where) if isinstance(model, Method) else load_model(model, where)
    batches = sample_batches(method, count, seed, "sample")
    folder = None if out is None else Path(out)
    if folder is not None:
        make_room_for_scenes(folder, overwrite, count)
    writer = None if folder is None else SceneWriter(folder)
    scenes: list[Scene] = []
    done = 0
    if callback is not None:
        callback.stage("sample", 0, count)
    try:
        for layers in batches:
            rasters = torch.cat([layers.rgb, layers.alpha], 2)  # B 2 4 H W
            made = Decomposition.from_rasters(rasters, background=True)
            some = made.scenes([f"{done + index:06d}.png" for index in range(len(made))])
            done += len(some)
            if writer is None:
                scenes += some
            else:
                writer.add(some)
            if callback is not None:
                callback.step("sample", done, {})
    except KeyboardInterrupt:
        if callback is not None and folder is not None:
            callback.note(f"Stopped: {done} of {count} scenes are in {folder}.")
        raise
    finally:
        if writer is not None:
            writer.finish()
    if folder is not None:
        return load_scenes(folder)
    return SceneSet([scene.name for scene in scenes], Dictionary(()), lambda index: scenes[index])


def sample_batches(method: Method, count: int, *key: int | str) -> Iterator[Layers]:
    """Draw scenes batch by batch from the random numbers of a key; the first ones are the same whatever the count.

    Raises:
        ConfigError: The model paints nothing from noise.
    """
    if not method.can_sample:
        method.sample(1, stream(*key))  # says why
    return (method.sample(AT_A_TIME, stream(*key, first))[: count - first] for first in range(0, count, AT_A_TIME))

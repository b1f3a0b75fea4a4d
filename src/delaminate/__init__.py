"""Delaminate takes images apart into layers, without labels."""

from typing import TYPE_CHECKING, Any

from delaminate.version import __version__ as __version__

if TYPE_CHECKING:
    from delaminate.data import ImageSet, LabelledSet, Labels, draw, load_folder, open_data
    from delaminate.engine.ema import EMA
    from delaminate.engine.loop import Budget, TrainResult
    from delaminate.engine.record import Callback, SilentCallback, TerminalCallback
    from delaminate.errors import (
        ConfigError,
        DataError,
        DelaminateError,
        FormatError,
        MissingExtra,
        OutputError,
        ShapeError,
        TrainingError,
    )
    from delaminate.methods.base import Method
    from delaminate.methods.dti_sprites import DTISprites
    from delaminate.methods.marionette import MarioNette
    from delaminate.methods.perturbgan import PerturbGAN
    from delaminate.methods.redo import ReDO
    from delaminate.methods.registry import METHODS, load_model
    from delaminate.methods.settings import MethodConfig
    from delaminate.methods.storage import save_model
    from delaminate.pipelines.automatic import AutomaticResult, auto
    from delaminate.pipelines.comparing import Comparison, compare
    from delaminate.pipelines.decomposition import DecomposedImages, decompose
    from delaminate.pipelines.evaluation import Evaluation, evaluate
    from delaminate.pipelines.exporting import edit, export, recompose
    from delaminate.pipelines.images import open_images
    from delaminate.pipelines.importing import Imported, import_edited
    from delaminate.pipelines.model_export import ExportedModel, export_model
    from delaminate.pipelines.new_scene import add_scene
    from delaminate.pipelines.preparing import PreparedImages, prepare_images
    from delaminate.pipelines.recognise import Recognition, recognise
    from delaminate.pipelines.repacking import pack_scenes, unpack_scenes
    from delaminate.pipelines.sampling import sample
    from delaminate.pipelines.training import TrainedRun, train
    from delaminate.scene.collection import SceneSet
    from delaminate.scene.compositing import composite, segment
    from delaminate.scene.decomposition import Decomposition
    from delaminate.scene.layers import Layers
    from delaminate.scene.loading import load_scenes
    from delaminate.scene.placements import Dictionary, Placement, Transform
    from delaminate.scene.saving import save_scenes
    from delaminate.scene.scenes import Scene, SceneLayer

# Imported when first used, so that `delaminate --help` need not wait for torch.
_PLACES = {
    "data": ("ImageSet", "LabelledSet", "Labels", "draw", "load_folder", "open_data"),
    "engine.ema": ("EMA",),
    "engine.loop": ("Budget", "TrainResult"),
    "engine.record": ("Callback", "SilentCallback", "TerminalCallback"),
    "errors": (
        "ConfigError", "DataError", "DelaminateError", "FormatError", "MissingExtra", "OutputError", "ShapeError",
        "TrainingError",
    ),
    "methods.base": ("Method",),
    "methods.dti_sprites": ("DTISprites",),
    "methods.marionette": ("MarioNette",),
    "methods.perturbgan": ("PerturbGAN",),
    "methods.redo": ("ReDO",),
    "methods.registry": ("METHODS", "load_model"),
    "methods.settings": ("MethodConfig",),
    "methods.storage": ("save_model",),
    "pipelines.comparing": ("Comparison", "compare"),
    "pipelines.automatic": ("AutomaticResult", "auto"),
    "pipelines.decomposition": ("DecomposedImages", "decompose"),
    "pipelines.evaluation": ("Evaluation", "evaluate"),
    "pipelines.exporting": ("edit", "export", "recompose"),
    "pipelines.images": ("open_images",),
    "pipelines.importing": ("Imported", "import_edited"),
    "pipelines.model_export": ("ExportedModel", "export_model"),
    "pipelines.new_scene": ("add_scene",),
    "pipelines.preparing": ("PreparedImages", "prepare_images"),
    "pipelines.recognise": ("Recognition", "recognise"),
    "pipelines.repacking": ("pack_scenes", "unpack_scenes"),
    "pipelines.sampling": ("sample",),
    "pipelines.training": ("TrainedRun", "train"),
    "scene.collection": ("SceneSet",),
    "scene.compositing": ("composite", "segment"),
    "scene.decomposition": ("Decomposition",),
    "scene.layers": ("Layers",),
    "scene.loading": ("load_scenes",),
    "scene.placements": ("Dictionary", "Placement", "Transform"),
    "scene.saving": ("save_scenes",),
    "scene.scenes": ("Scene", "SceneLayer"),
}  # fmt: skip
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "EMA",
    "METHODS",
    "AutomaticResult",
    "Budget",
    "Callback",
    "Comparison",
    "ConfigError",
    "DTISprites",
    "DataError",
    "DecomposedImages",
    "Decomposition",
    "DelaminateError",
    "Dictionary",
    "Evaluation",
    "ExportedModel",
    "FormatError",
    "ImageSet",
    "Imported",
    "LabelledSet",
    "Labels",
    "Layers",
    "MarioNette",
    "Method",
    "MethodConfig",
    "MissingExtra",
    "OutputError",
    "PerturbGAN",
    "Placement",
    "PreparedImages",
    "ReDO",
    "Recognition",
    "Scene",
    "SceneLayer",
    "SceneSet",
    "ShapeError",
    "SilentCallback",
    "TerminalCallback",
    "TrainResult",
    "TrainedRun",
    "TrainingError",
    "Transform",
    "add_scene",
    "auto",
    "compare",
    "composite",
    "decompose",
    "draw",
    "edit",
    "evaluate",
    "export",
    "export_model",
    "import_edited",
    "load_folder",
    "load_model",
    "load_scenes",
    "open_data",
    "open_images",
    "pack_scenes",
    "prepare_images",
    "recognise",
    "recompose",
    "sample",
    "save_model",
    "save_scenes",
    "segment",
    "train",
    "unpack_scenes",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "studio":  # a part that can be called: `delaminate.studio(scenes)` in a notebook
        return importlib.import_module("delaminate.studio")
    if name not in _MODULES:
        raise AttributeError(f"module 'delaminate' has no attribute {name!r}")
    return getattr(importlib.import_module(f"delaminate.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

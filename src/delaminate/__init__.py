"""Delaminate takes images apart into layers, without labels."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from delaminate.data import ImageSet, LabelledSet, draw, load_folder, open_data
    from delaminate.engine import Budget, train
    from delaminate.methods import METHODS, Method, load_model
    from delaminate.methods.dti_sprites import DTISprites
    from delaminate.methods.marionette import MarioNette
    from delaminate.methods.perturbgan import PerturbGAN
    from delaminate.methods.redo import ReDO
    from delaminate.scene.compositing import composite, segment
    from delaminate.scene.decomposition import Decomposition
    from delaminate.scene.layers import Layers
    from delaminate.scene.placements import Dictionary
    from delaminate.scene.scenes import Scene

__version__ = "0.1.0"

# Imported when first used, so that `delaminate --help` need not wait for torch.
_PLACES = {
    "Budget": "engine",
    "DTISprites": "methods.dti_sprites",
    "Decomposition": "scene.placements",
    "Dictionary": "scene.placements",
    "ImageSet": "data",
    "LabelledSet": "data",
    "Layers": "scene.layers",
    "MarioNette": "methods.marionette",
    "METHODS": "methods",
    "Method": "methods",
    "PerturbGAN": "methods.perturbgan",
    "ReDO": "methods.redo",
    "Scene": "scene.scenes",
    "composite": "scene.compositing",
    "draw": "data",
    "load_folder": "data",
    "load_model": "methods",
    "open_data": "data",
    "segment": "scene.compositing",
    "train": "engine",
}

__all__ = [
    "METHODS",
    "Budget",
    "DTISprites",
    "Decomposition",
    "Dictionary",
    "ImageSet",
    "LabelledSet",
    "Layers",
    "MarioNette",
    "Method",
    "PerturbGAN",
    "ReDO",
    "Scene",
    "composite",
    "draw",
    "load_folder",
    "load_model",
    "open_data",
    "segment",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'delaminate' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"delaminate.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

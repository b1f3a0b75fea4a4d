"""The studio: layers in a browser. `delaminate.studio(scenes)` shows it in a notebook."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from delaminate.scene.scenes import Scene
    from delaminate.studio.frame import StudioFrame


class _Studio(ModuleType):
    """The package, which can be called."""

    def __call__(self, given: "str | Path | Sequence[Scene]", height: int = 720) -> "StudioFrame":
        """Show the studio in a notebook: a folder of scenes, a run, images, a model, or scenes."""
        from delaminate.studio.frame import StudioFrame

        return StudioFrame(given, height)


sys.modules[__name__].__class__ = _Studio

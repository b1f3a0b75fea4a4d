"""The settings that every method has, and one that several share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from delaminate.config import check_bounds, setting
from delaminate.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """What all configurations share. Those of a method add their own fields, and checks of what goes together.

    Attributes:
        method: The method's name, for messages.
        renamed, renamed_values: Older names and values that are still read (`delaminate.config.current_names`).
    """

    method: ClassVar[str] = "method"
    renamed: ClassVar[Mapping[str, str]] = {}
    renamed_values: ClassVar[Mapping[str, Mapping[Any, Any]]] = {}

    image_size: tuple[int, int] = setting(
        meaning="Height and width of the canvas in pixels.", unit="px", minimum=1, maximum=4096, group="canvas"
    )
    batch: int = setting(32, "Images in a step.", unit="images", minimum=1, maximum=4096, group="training")
    steps: int = setting(10_000, "Steps of training.", unit="steps", minimum=0, group="training")
    learning_rate: float = setting(1e-4, "Learning rate.", minimum=0, group="training")
    ema: float = setting(
        0.0,
        "Decay of the running mean of the weights, which takes their place in results; 0: none.",
        minimum=0,
        below=1,
        group="training",
    )
    bf16: bool = setting(False, "Compute networks in bfloat16, where the device has units for it.", group="training")

    def __post_init__(self) -> None:
        check_bounds(self.method, self)
        self.check()

    def check(self) -> None:
        """Refuse settings that do not go together, by `refuse`."""

    def refuse(self, key: str, why: str) -> NoReturn:
        """Refuse a setting.

        Raises:
            ConfigError: Names the setting and its value, and says why and what to do.
        """
        raise ConfigError(f"{self.method}: {key} is {getattr(self, key)!r}; {why}")


def min_region_area_setting(group: str) -> Any:  # As `setting`: a field, in the body of a class.
    """`min_region_area` of a method that cuts photos out, as a share of the picture, in a group of its settings."""
    return setting(
        1 / 400,
        "Of the picture: what hangs together and is smaller is a small region, when decomposing by `despeckled` "
        "(refinement/small_regions.py); 0: that way is not there, nor is it without `refine_weight`.",
        minimum=0,
        maximum=1,
        group=group,
    )

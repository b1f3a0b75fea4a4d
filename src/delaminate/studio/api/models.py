"""Methods and models: what can be trained with which settings, and what is in the box."""

import typing
from typing import Annotated, Any

from fastapi import Query

from delaminate import zoo
from delaminate.config import settings_of, to_dict
from delaminate.studio.api.common import Space, Strict, router

api = router("models")


class ModelRow(Strict):
    """A model that images can be decomposed with: one in the box, or of a project (a run, or a model)."""

    id: str
    title: str
    project: bool


class MethodRow(Strict):
    """A method that can be trained; the first preset is the one for images of one's own."""

    id: str
    about: str
    presets: list[str]


class ModelList(Strict):
    """What there is."""

    models: list[ModelRow]
    methods: list[MethodRow]


class SettingRow(Strict):
    """A setting, for a form: its value in the preset, its meaning, bounds and unit."""

    key: str
    value: Any
    meaning: str
    unit: str
    group: str
    minimum: float | None
    maximum: float | None
    above: float | None
    below: float | None
    multiple_of: int | None
    choices: list[Any] | None


class SettingList(Strict):
    """The settings of a method in a preset."""

    method: str
    preset: str
    settings: list[SettingRow]


@api.get("/models")
def list_models(space: Space) -> ModelList:
    """List models, in the box first, and methods."""
    from delaminate.methods import METHODS  # here, so that the studio opens at once

    models = [ModelRow(id=name, title=title, project=False) for name, title in zoo.names().items()]
    models += [
        ModelRow(id=each.id, title=each.name, project=True)
        for each in space.projects()
        if each.kind in ("run", "model")
    ]
    methods = [
        MethodRow(id=name, about=(found.__doc__ or name).strip().splitlines()[0], presets=list(found.presets))
        for name, found in METHODS.items()
    ]
    return ModelList(models=models, methods=methods)


@api.get("/methods/{method}/settings")
def list_settings(method: str, preset: Annotated[str | None, Query()] = None) -> SettingList:
    """List the settings of a method, with their values in a preset; default: the first."""
    from delaminate.methods import METHODS

    found = METHODS.find(method, "settings")
    name = preset or next(iter(found.presets))
    config = found.preset_config(name)
    values, hints, rows = to_dict(config), typing.get_type_hints(type(config)), []
    for key, known in settings_of(config).items():
        choices = list(typing.get_args(hints[key])) if typing.get_origin(hints[key]) is typing.Literal else None
        rows.append(SettingRow(key=key, value=values[key], choices=choices, **vars(known)))
    return SettingList(method=method, preset=name, settings=rows)

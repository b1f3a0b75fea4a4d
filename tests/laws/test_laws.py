"""What holds for every method, one from outside the package included. (Resuming: tests/engine/test_resume.py; labels:
tests/cli/test_labels.py; devices: tests/engine/test_devices.py; each over the same list.)"""

import json
import sys

import pytest
import torch
from helpers.folders import contents
from helpers.tiny import CONFIGS, SELDOM, model, pixels
from torch.testing import assert_close

import delaminate
from delaminate.config import settings_of
from delaminate.engine import train
from delaminate.errors import ConfigError, FormatError
from delaminate.methods import METHODS, Method, load_model
from delaminate.methods.registry import Methods
from delaminate.rng import stream
from delaminate.scene.compositing import composite

every_method = pytest.mark.parametrize("name", CONFIGS)


@pytest.fixture(scope="module")
def trained():
    """A model of each configuration after its whole training."""
    found = {}
    for name, config in CONFIGS.items():
        found[name] = model(config)
        train(found[name], pixels(), seed=3, intervals=SELDOM)
    return found


@pytest.fixture
def images():
    return pixels(5, seed=1).float() / 255


def test_every_method_is_here():
    names = {model(config).name for config in CONFIGS.values()}
    assert names == {*METHODS, "colour-regions"}


@pytest.mark.parametrize(("method", "preset"), [(n, p) for n in METHODS for p in METHODS[n].presets], ids=str)
def test_every_preset_says_what_it_is(method, preset):
    config = METHODS[method].preset_config(preset)
    assert config.method == method
    known = settings_of(config)
    assert [name for name, setting in known.items() if not setting.meaning] == []
    assert [name for name, setting in known.items() if not setting.group] == []
    for old, new in type(config).renamed.items():
        assert old not in known and new in known, f"{old} -> {new}"


@every_method
def test_players_and_stages_have_names_of_their_own(name):
    stages = model(CONFIGS[name]).stages()
    assert len({stage.name for stage in stages}) == len(stages)
    for stage in stages:
        assert len({player.name for player in stage.players}) == len(stage.players)


@every_method
def test_decomposing_is_deterministic_and_leaves_the_mode_alone(name, trained, images):
    some = trained[name]
    for by in some.decomposers:
        some.train()
        first, again = (some.decompose(images, by) for _ in range(2))
        assert some.training
        assert torch.equal(first.composite(), again.composite())
        assert torch.equal(first.layers().alpha, again.layers().alpha)


@every_method
def test_a_decomposition_composites_to_its_reconstruction(name, trained, images):
    for by in trained[name].decomposers:
        found = trained[name].decompose(images, by)
        assert_close(composite(found.layers()), found.composite(), atol=1e-6, rtol=0)
        scenes = found.scenes()
        assert torch.equal(torch.stack([scene.composite() for scene in scenes]), found.composite())
        if trained[name].copies_input(by):
            assert_close(found.composite(), images, atol=1e-5, rtol=0)


@every_method
def test_one_image_is_decomposed_as_among_others(name, trained, images):
    for by in trained[name].decomposers:
        together = trained[name].decompose(images, by).composite()
        alone = trained[name].decompose(images[2], by).composite()
        assert_close(alone[0], together[2], atol=1e-4, rtol=0)


@every_method
def test_a_model_folder_comes_back(name, trained, images, tmp_path, fifth):
    trained[name].save_pretrained(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert type(loaded) is type(trained[name])
    assert loaded.config == trained[name].config
    for by in loaded.decomposers:
        before, after = (some.decompose(images, by) for some in (trained[name], loaded))
        assert_close(after.composite(), before.composite(), atol=1e-6, rtol=0)
    class_loaded = type(trained[name]).from_pretrained(tmp_path / "model")
    assert class_loaded.decomposers == loaded.decomposers


@every_method
def test_a_subclass_trains_is_stored_and_loads(name, tmp_path):
    """A method changed by somebody else needs no name of its own."""
    own = type(model(CONFIGS[name]))

    class Changed(own):
        pass

    changed = Changed(CONFIGS[name])
    train(changed, pixels(), seed=3, intervals=SELDOM)
    changed.save_pretrained(tmp_path / "model")
    assert type(Changed.from_pretrained(tmp_path / "model")) is Changed


@every_method
def test_what_a_method_cannot_it_says(name, trained):
    some = trained[name]
    if some.can_sample:
        layers = some.sample(2, stream("law"))
        assert layers.rgb.shape[0] == 2
    else:
        with pytest.raises(ConfigError):
            some.sample(2, stream("law"))
    if not some.can_redraw:
        with pytest.raises(ConfigError):
            some.repaint(torch.full((1, 2, 1, 16, 16), 0.5), 0, stream("law"))


@every_method
def test_the_command_line_and_python_do_the_same_from_training_to_figures(name, trained, fifth, tmp_path, command):
    """One folder of images: trained, decomposed, evaluated and exported, both ways."""
    some = trained[name]
    if not some.decomposers:
        pytest.skip("only its generators are trained")
    some.save_pretrained(tmp_path / "model")
    data = delaminate.draw("objects-on-texture", 3, split="dev", size=(16, 16))
    from delaminate.data import write_folder

    write_folder(data, tmp_path / "data")
    by_python = delaminate.decompose(some, tmp_path / "data", tmp_path / "python", device="cpu")
    code, _, err = command("decompose", tmp_path / "model", tmp_path / "data", "--out", tmp_path / "cli")
    assert code == int(by_python.verdict.level == "nothing"), err
    assert contents(tmp_path / "python") == contents(tmp_path / "cli")
    delaminate.export(by_python, tmp_path / "python-out", "png,html")
    assert command("export", tmp_path / "cli", "--to", "png,html", "--out", tmp_path / "cli-out")[0] == 0
    assert contents(tmp_path / "python-out") == contents(tmp_path / "cli-out")
    figures = delaminate.evaluate(some, tmp_path / "data", device="cpu")
    assert command("evaluate", tmp_path / "model", tmp_path / "data", "--json", tmp_path / "figures.json")[0] == 0
    told = json.loads((tmp_path / "figures.json").read_text())
    speed = "images_per_second"
    assert {key: value for key, value in told.items() if key != speed} == {
        key: value for key, value in dict(figures).items() if key != speed
    }
    assert "<img" in by_python._repr_html_() and "<table" in figures._repr_html_()


# --- the registry -----------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that offers the fifth method."""

    def install(value="offered:ColourRegions", name="colour-regions"):
        folder = tmp_path / "site"
        (folder / "offered-1.0.dist-info").mkdir(parents=True)
        (folder / "offered.py").write_text("from fifth_method import ColourRegions\nnothing = 3\n")
        (folder / "offered-1.0.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n"
        )
        (folder / "offered-1.0.dist-info" / "entry_points.txt").write_text(f"[delaminate.methods]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "offered", raising=False)
        return Methods(*(METHODS[each] for each in ("dti-sprites", "redo")))

    return install


def test_a_method_of_an_installed_package_is_found_and_loaded_when_asked_for(package):
    methods = package()
    assert list(methods) == ["dti-sprites", "redo", "colour-regions"]
    assert "offered" not in sys.modules
    assert issubclass(methods["colour-regions"], Method)
    assert len(methods) == 3


@pytest.mark.parametrize(
    ("value", "name", "says"),
    [
        ("offered:Missing", "colour-regions", "cannot be imported"),
        ("nowhere:Missing", "colour-regions", "cannot be imported"),
        ("offered:nothing", "colour-regions", "is no subclass"),
        ("offered:ColourRegions", "other", "is no subclass"),
    ],
)
def test_a_package_that_offers_something_else_is_refused(package, value, name, says):
    with pytest.raises(ConfigError, match=says):
        package(value, name)[name]


def test_two_methods_of_one_name_are_refused():
    class Other(METHODS["redo"]):
        pass

    methods = Methods(METHODS["redo"])
    with pytest.raises(ConfigError, match="the name of another method"):
        methods.register(Other)
    Other.name = "other"
    assert methods.register(Other) is methods["other"]


def test_models_of_a_method_that_is_not_installed_are_refused(tmp_path):
    model(CONFIGS["outside"]).save_pretrained(tmp_path / "model")
    with pytest.raises(FormatError, match="unknown method 'colour-regions'"):
        load_model(tmp_path / "model")

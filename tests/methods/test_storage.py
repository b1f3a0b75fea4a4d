"""Model folders: what goes in comes out; what is damaged, hostile or foreign is refused in one line."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from helpers.dti_sprites import OBJECTS, SHAPES, images_of, trained
from safetensors.torch import load_file, save_file

from delaminate.config import to_dict
from delaminate.errors import ConfigError, FormatError, OutputError
from delaminate.methods import load_model, save_model
from delaminate.methods.dti_sprites import PRESETS, DTISprites


@pytest.fixture
def model():
    some = trained(OBJECTS)
    some.learned[1] = 1
    return some


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def same(a, b):
    """Equal placements, to the bit."""
    assert torch.equal(a.composite(), b.composite())
    for x, y in zip(a.images, b.images, strict=True):
        for one, other in zip(x, y, strict=True):
            assert (one.entry, one.transforms, one.colour) == (other.entry, other.transforms, other.colour)


@pytest.mark.parametrize("name", SHAPES)
def test_a_saved_model_decomposes_as_before(name, tmp_path):
    model = trained(SHAPES[name])
    model.learned[1] = 1
    model.alive[1] = 0
    model.save_pretrained(tmp_path)
    again = DTISprites.from_pretrained(tmp_path)
    assert again.config == model.config
    assert not again.training
    images = images_of(model.config)
    same(model.decompose(images), again.decompose(images))
    again.save_pretrained(tmp_path / "again")
    for file in ("model.safetensors", "config.json", "README.md"):
        assert (tmp_path / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_a_run_folder_is_opened_by_its_model(folder):
    assert load_model(folder.parent).config == OBJECTS


def test_a_model_without_a_trained_network_holds_none(tmp_path):
    config = replace(PRESETS["tetrominoes"], image_size=(16, 16), sprite_size=(8, 8), num_sprites=3)
    model = DTISprites(config)
    model.learned[0] = 1
    model.save_pretrained(tmp_path)
    assert not any(name.startswith(("encoder.", "heads.")) for name in load_file(tmp_path / "model.safetensors"))
    assert load_model(tmp_path).decomposers == ("search",)
    with pytest.raises(ConfigError, match="this model holds search"):
        load_model(tmp_path).decompose(torch.zeros(1, 3, 16, 16), by="network")


def test_half_precision_halves_the_file_and_hardly_changes_what_is_seen(model, tmp_path):
    model.progress.fill_(956_250)  # more steps than a half can count
    save_model(model, tmp_path / "whole")
    save_model(model, tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    again = load_model(tmp_path / "half")
    assert int(again.progress) == 956_250
    assert again.sprites_rgb.dtype == torch.float32
    images = images_of(OBJECTS)
    difference = (model.decompose(images).composite() - again.decompose(images).composite()).abs()
    assert float(difference.mean()) < 5e-3


# --- hostile folders ------------------------------------------------------------------------------------------------


def change_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def change_config(folder, change):
    path = folder / "config.json"
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def pickle_in_disguise(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps({"dictionary.rgba": Evil()}))


def checkpoint_in_disguise(folder):
    torch.save({"dictionary.rgba": torch.zeros(3, 4, 10, 9)}, folder / "model.safetensors")


def cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50])


def empty_file(folder):
    (folder / "model.safetensors").write_bytes(b"")


def header_of_a_terabyte(folder):
    (folder / "model.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def folder_in_place_of_weights(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()


def missing_tensor(folder):
    change_tensors(folder, lambda t: t.pop("alive"))


def missing_head(folder):
    change_tensors(folder, lambda t: t.pop("heads.layer_position.weight_3"))


def missing_encoder(folder):
    change_tensors(folder, lambda t: [t.pop(name) for name in list(t) if name.startswith("encoder.")])


def missing_network(folder):
    change_tensors(folder, lambda t: [t.pop(name) for name in list(t) if name.startswith(("encoder.", "heads."))])


def extra_tensor(folder):
    change_tensors(folder, lambda t: t.update({"dictionary.rgb": torch.zeros(1)}))


def wrong_shape(folder):
    change_tensors(folder, lambda t: t.update({"dictionary.rgba": torch.zeros(3, 4, 9, 10)}))


def wrong_type(folder):
    change_tensors(folder, lambda t: t.update({"alive": torch.zeros(3, dtype=torch.int32)}))


def double_weights(folder):
    change_tensors(folder, lambda t: t.update({"alive": torch.ones(3, dtype=torch.float64)}))


def not_a_number(folder):
    change_tensors(folder, lambda t: t["background.rgb"].fill_(torch.nan))


def infinite(folder):
    change_tensors(folder, lambda t: t["encoder.stem.0.weight"].fill_(torch.inf))


def nobody_alive(folder):
    change_tensors(folder, lambda t: t["alive"].zero_())


def no_config(folder):
    (folder / "config.json").unlink()


def config_is_no_json(folder):
    (folder / "config.json").write_text("{'format': 1")


def config_is_no_text(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe\x00{")


def config_is_huge(folder):
    (folder / "config.json").write_text("[" * 10**6)


def config_is_deep(folder):
    (folder / "config.json").write_text("[" * 90_000)


def config_is_a_list(folder):
    (folder / "config.json").write_text("[1]")


def config_is_from_the_future(folder):
    change_config(folder, lambda c: c.update(format=2))


def config_without_method(folder):
    change_config(folder, lambda c: c.pop("method"))


def method_unknown(folder):
    change_config(folder, lambda c: c.update(method="dti-sprite"))


def method_is_a_list(folder):
    change_config(folder, lambda c: c.update(method=["dti-sprites"]))


def unknown_key(folder):
    change_config(folder, lambda c: c["config"].update(n_sprites=3))


def value_of_another_type(folder):
    change_config(folder, lambda c: c["config"].update(num_sprites="three"))


def value_out_of_range(folder):
    change_config(folder, lambda c: c["config"].update(num_sprites=-1))


def another_number_of_sprites(folder):
    change_config(folder, lambda c: c["config"].update(num_sprites=4))


def absurd_sprites(folder):
    change_config(folder, lambda c: c["config"].update(num_sprites=4096, sprite_size=[4096, 4096]))


def absurd_heads(folder):
    change_config(folder, lambda c: c["config"].update(num_sprites=4096, num_layers=4096))


def sizes_beyond_counting(folder):
    change_config(
        folder, lambda c: c["config"].update(num_sprites=4096, num_layers=4096, pool=4096, encoder="resnet18")
    )


DAMAGES = [
    pickle_in_disguise, checkpoint_in_disguise, cut_short, cut_in_the_header, empty_file, header_of_a_terabyte, no_weights,
    folder_in_place_of_weights, missing_tensor, missing_head, missing_encoder, missing_network, extra_tensor, wrong_shape,
    wrong_type, double_weights, not_a_number, infinite, nobody_alive, no_config, config_is_no_json, config_is_no_text,
    config_is_huge, config_is_deep, config_is_a_list, config_is_from_the_future, config_without_method, method_unknown,
    method_is_a_list, unknown_key, value_of_another_type, value_out_of_range, another_number_of_sprites, absurd_sprites,
    absurd_heads, sizes_beyond_counting,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_and_hostile_folders_are_refused_in_one_line(damage, folder, capsys):
    damage(folder)
    with pytest.raises(FormatError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert 20 < len(message) < 400
    assert "deserializing" not in message
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "hint"),
    [(unknown_key, "Did you mean 'num_sprites'"), (method_unknown, "Did you mean 'dti-sprites'"),
     (extra_tensor, "Did you mean 'dictionary.rgba'"), (wrong_shape, r"\(3, 4, 9, 10\); expected \(3, 4, 10, 9\)")],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_folders_refused_for_a_slip_are_told_what_was_meant(damage, hint, folder):
    damage(folder)
    with pytest.raises(FormatError, match=hint):
        load_model(folder)


def test_a_model_of_another_method_is_refused(folder):
    class Other(DTISprites):
        name = "other"

    with pytest.raises(FormatError, match="is a dti-sprites model, not other"):
        Other.from_pretrained(folder)


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="neither a folder nor a model in the box"):
        load_model(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        model.save_pretrained(tmp_path / "file")


def test_the_configuration_in_a_folder_is_resolved(folder):
    found = json.loads((folder / "config.json").read_text())
    assert found["config"] == json.loads(json.dumps(to_dict(OBJECTS)))
    assert (found["format"], found["method"], found["default"]) == (1, "dti-sprites", "network")

import os
import subprocess
import sys

import pytest

from delaminate import __version__, cli
from delaminate.cli import VERBS
from delaminate.errors import DataError

HEAVY = ("torch", "numpy", "scipy", "sklearn", "PIL", "yaml")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(command, verb):
    code, out, _ = command(verb, "--help")
    assert code == 0
    assert "Usage:" in out
    assert f"delaminate {verb}" in out.replace("\n", " ")


def test_the_help_lists_the_verbs_in_order(command):
    code, out, _ = command("--help")
    assert code == 0
    places = [out.index(f"│ {verb} ") for verb in VERBS]
    assert places == sorted(places)


def test_the_version_is_printed(command):
    assert command("--version")[:2] == (0, f"delaminate {__version__}\n")


def processor_seconds(program):
    """What a program costs; other work on the machine does not count. Also what it says on stderr."""
    before = os.times()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system, done.stderr


def test_help_costs_little_more_than_the_smallest_command_line_and_loads_nothing_heavy():
    smallest = (
        "import sys, typer\napp = typer.Typer()\n@app.command()\ndef verb(name: str) -> None: 'Says it.'\n"
        "sys.argv = ['verb', '--help']\napp()"
    )
    program = (
        "import sys\nfrom delaminate.cli import main\nsys.argv = ['delaminate', 'evaluate', '--help']\n"
        f"try:\n    main()\nfinally:\n    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    ours, least = [], []
    for _ in range(3):
        seconds, said = processor_seconds(program)
        assert said.strip() == "[]"
        ours.append(seconds)
        least.append(processor_seconds(smallest)[0])
    # 1.7 times as much was seen; how many seconds that is depends on the machine.
    assert min(ours) <= 2.5 * min(least)


def test_our_errors_are_one_line_and_exit_code_two(command):
    code, out, err = command("decompose", "no-such-model", "nowhere", "--out", "x")
    assert (code, out) == (2, "")
    assert err.startswith("Error: no-such-model: ")
    assert err.count("\n") == 1


def test_a_traceback_comes_when_asked_for(monkeypatch):
    monkeypatch.setenv("DELAMINATE_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["delaminate", "data", "write", "nothing", "--out", "x"])
    with pytest.raises(DataError):
        cli.main()


def test_wrong_usage_exits_with_two(command):
    assert command("export")[0] == 2
    assert command("no-such-verb")[0] == 2


def test_ctrl_c_exits_with_130(command, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("delaminate.data.names", interrupted)
    assert command("data", "list")[0] == 130


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "delaminate", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == f"delaminate {__version__}"


def test_settings_are_explained_group_by_group(command):
    code, said, _ = command("settings", "redo", "--preset", "colored-2-mnist", "--group", "regions")
    assert code == 0
    assert "num_regions" in said and "2 to 64" in said and "Regions of an image" in said
    assert "learning_rate" not in said
    assert "learning_rate" in command("settings", "redo")[1]
    code, _, err = command("settings", "redo", "--group", "maskss")
    assert code == 2
    assert "Did you mean 'masks'?" in err
    assert command("settings", "redoo")[0] == 2


def test_older_flags_still_work_and_are_not_shown(command, tmp_path, pieces, model):
    words = ("decompose", model, pieces / "images", "--out", tmp_path / "out", "-n", 1)
    assert command(*words)[0] == 0
    assert command(*words)[0] == 2
    assert command(*words, "--again")[0] == 0
    assert command("export", tmp_path / "out", "--to", "gif", "--out", tmp_path / "gif", "--no-ground")[0] == 0
    for verb in ("train", "decompose", "recompose", "sample", "export", "bench"):
        said = command(verb, "--help")[1]
        assert "--again" not in said and "--ground" not in said

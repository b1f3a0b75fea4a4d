"""The command line: one file a verb. `delaminate --help` lists them.

Verb modules import nothing heavy at the top, so that every `--help` answers at once; torch comes when a command runs.
"""

import gc
import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from delaminate import __version__
from delaminate.errors import DelaminateError

# Verb to `module:name` of a function or of a group of operations, in the order of the help.
VERBS = {
    "demo": "demo:demo",
    "auto": "auto:auto",
    "train": "train:train",
    "decompose": "decompose:decompose",
    "sample": "sample:sample",
    "export": "export:export",
    "recompose": "recompose:recompose",
    "edit": "edit:app",
    "import": "importing:import_files",
    "studio": "studio:studio",
    "scenes": "scenes:app",
    "evaluate": "evaluate:evaluate",
    "compare": "compare:compare",
    "data": "data:app",
    "models": "models:app",
    "settings": "settings:settings",
    "bench": "bench:bench",
    "doctor": "doctor:doctor",
}


PATIENCE = 4.0
"""Seconds that a command has to end by itself once it was told to."""


class _InOrder(TyperGroup):
    """Lists the verbs in the order of the table."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [verb for verb in VERBS if verb in self.commands]


def _version(asked: bool | None) -> None:
    if asked:
        typer.echo(f"delaminate {__version__}")
        raise typer.Exit


def _about(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    """Take images apart into the layers they were made of, without labels.

    Start with `delaminate demo`. Then, with your own folder:

        delaminate train dti-sprites photos/ --preset instagram --out runs/photos

        delaminate decompose runs/photos photos/ --out scenes

        delaminate export scenes --to png,html --out layers

    `delaminate VERB --help` explains each step.
    """


def build_app() -> typer.Typer:
    """Put the verbs together."""
    app = typer.Typer(
        cls=_InOrder,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_about)
    for verb, place in VERBS.items():
        module, _, name = place.partition(":")
        found = getattr(importlib.import_module(f"delaminate.cli.{module}"), name)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=verb)
        else:
            app.command(verb)(found)
    return app


@contextmanager
def ends_in_time() -> Iterator[None]:
    """See that Ctrl-C and SIGTERM are obeyed within five seconds, also where a long computation hears of neither.

    What ends by itself until then, such as a training that saves, does. Files are written aside and moved into place, so that
    none is left half written.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hears, tells = socket.socketpair()
    tells.setblocking(False)

    def watch() -> None:
        with hears:
            if number := hears.recv(1):
                time.sleep(PATIENCE)
                os.write(2, b"Stopped before it had ended by itself; what was saved until then stays.\n")
                os._exit(128 + number[0])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        tells.close()
        watcher.join(0.1)  # unless it waits: then the command may still take its time to end


def main() -> None:
    """Run the command line. Our own errors are one red line and exit code 2; Ctrl-C exits with 130.

    DELAMINATE_TRACEBACK=1 shows where an error was raised.
    """
    # Threads that wait for each other must not spin: beside one other busy program that makes training many times
    # slower. OpenMP reads this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Thousands of modules' objects are made at every start and none is garbage: every command waits while it is looked
    # for among them, which by default is once in 700 objects.
    gc.set_threshold(10_000, 10, 10)
    try:
        with ends_in_time():
            build_app()()
    except DelaminateError as error:
        if os.environ.get("DELAMINATE_TRACEBACK") == "1":
            raise
        typer.secho("Error: " + " ".join(str(error).split()), fg="red", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)

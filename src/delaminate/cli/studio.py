"""`delaminate studio`: layers in a browser, served on one's own machine."""

import ipaddress
from typing import Annotated

import typer


def studio(
    given: Annotated[
        str | None,
        typer.Argument(
            metavar="[SCENES | RUN | IMAGES | MODEL]",
            help="What to open: a folder of scenes, a run, images or a clip, a model; none: what was open before.",
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: 8712, or any that is free.")] = None,
    host: Annotated[
        str, typer.Option(help="An address of this machine; others than 127.0.0.1 let other machines ask.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    framed: Annotated[bool, typer.Option("--framed", help="Let notebooks of this machine show it in a frame.")] = False,
) -> None:
    """See, edit and take away layers in a browser. Nothing leaves this machine.

    Every edit is on the disk before it counts, and is undone without limit: SCENES/edits holds the history. Trainings and
    decompositions that the page starts go on when it is closed.

        delaminate studio scenes

        delaminate studio photos/ --no-browser --port 9000
    """
    from delaminate.studio.server import serve

    if host != "localhost" and not _is_loopback(host):
        typer.secho(
            f"Warning: other machines that reach {host} can ask this studio; only the token in the address keeps them "
            "out, and nothing is encrypted.",
            fg="yellow",
            err=True,
        )
    serve(given, host=host, port=port, browser=browser, framed=framed, say=typer.echo)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

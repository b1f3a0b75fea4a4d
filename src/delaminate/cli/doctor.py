"""`delaminate doctor`: what this installation can do, and what it lacks."""

import typer


def doctor() -> None:
    """Look at this installation: versions, device, memory, disk, extras. Paste it into a report of a fault.

    delaminate doctor

    Ends with 1 if something is broken that every command needs; what an extra would add is no fault.
    """
    from rich.console import Console
    from rich.table import Table

    from delaminate.pipelines.doctor import examine

    table, broken = Table(box=None, show_header=False), []
    for finding in examine():
        mark = "✗" if finding.broken else "·" if finding.remedy else "✓"
        table.add_row(mark, finding.what, finding.found, finding.remedy)
        if finding.broken:
            broken.append(finding.what)
    Console().print(table, highlight=False, markup=False)
    if broken:
        typer.echo(f"Broken: {', '.join(broken)}.", err=True)
        raise typer.Exit(1)

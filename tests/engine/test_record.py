"""What a training shows on a terminal."""

import io

import pytest
from rich.console import Console

from delaminate.engine.record import TerminalCallback

FIGURES = {"loss": 2.134, "covered": 0.123, "border": 0.1234, "gap": 0.1234, "images_per_second": 160.0, "unknown": 1.0}


@pytest.mark.parametrize("width", [80, 110, 200])
def test_the_stage_and_every_figure_are_read_on_terminals_of_any_width(width):
    screen = Console(file=io.StringIO(), width=width, force_terminal=True)
    terminal = TerminalCallback(screen, ("covered", "border", "gap"))
    terminal.stage("self-training", 0, 5000)
    terminal.step("self-training", 1200, FIGURES)
    terminal.close()
    shown = screen.file.getvalue()
    assert all(word in shown for word in ("self-training", "1200/5000", "0:00:0", "loss 2.134", "0.1234", "160"))
    assert "unknown" not in shown
    assert ("━" in shown) is (width >= 110)

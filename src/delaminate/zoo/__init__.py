"""Small trained models in the box."""

from pathlib import Path

ROOT = Path(__file__).parent


def names() -> dict[str, str]:
    """List the models with the first line of their cards.

    >>> all("/" in name for name in names())
    True
    """
    found = {}
    for config in sorted(ROOT.glob("*/*/config.json")):
        card = config.parent / "README.md"
        title = card.read_text().splitlines()[0].lstrip("# ") if card.exists() else ""
        found[config.parent.relative_to(ROOT).as_posix()] = title
    return found


def folder(name: str) -> Path:
    """Say where a model of `names` lies."""
    return ROOT / name

"""Small trained models in the box."""

from pathlib import Path

ROOT = Path(__file__).parent
RULE = "---\n"


def names() -> dict[str, str]:
    """List the models with the titles of their cards.

    >>> all("/" in name for name in names())
    True
    """
    found = {}
    for config in sorted(ROOT.glob("*/*/config.json")):
        card = config.parent / "README.md"
        body = split_card(card.read_text(encoding="utf-8"))[1] if card.exists() else ""
        title = next(iter(body.splitlines()), "").lstrip("# ")
        found[config.parent.relative_to(ROOT).as_posix()] = title
    return found


def folder(name: str) -> Path:
    """Say where a model of `names` lies."""
    return ROOT / name


def split_card(text: str) -> tuple[str, str]:
    """Divide a card into its head, YAML for the hub, and what people read; a card without a head has an empty one.

    >>> split_card("---\\nlicense: mit\\n---\\n\\n# Title\\n")
    ('license: mit\\n', '# Title\\n')
    """
    if not text.startswith(RULE):
        return "", text
    head, found, body = text.removeprefix(RULE).partition("\n" + RULE)
    return (head + "\n", body.lstrip("\n")) if found else ("", text)

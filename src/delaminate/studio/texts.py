"""What is said to the browser: without places on this machine."""

import re
from typing import Any

PLACE = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:;,'\"<>|]+[/\\])+([^\s/\\:;,'\"<>|]*)")


def without_places(text: str) -> str:
    """Leave of each place on this machine only its last part.

    >>> without_places("/mnt/me/scenes/a.png: cannot be read; see a/b.png.")
    'a.png: cannot be read; see a/b.png.'
    >>> without_places(r"C:\\data\\mine\\b.png: is empty")
    'b.png: is empty'
    """
    return PLACE.sub(lambda found: found[1] or "...", text)


def value_without_places(value: Any) -> Any:
    """The same for all texts of a JSON value."""
    if isinstance(value, str):
        return without_places(value)
    if isinstance(value, list):
        return [value_without_places(each) for each in value]
    if isinstance(value, dict):
        return {str(key): value_without_places(each) for key, each in value.items()}
    return value

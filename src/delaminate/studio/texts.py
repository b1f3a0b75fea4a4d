"""What is said to the browser: without places on this machine."""

import re

PLACE = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:;,'\"<>|]+[/\\])+([^\s/\\:;,'\"<>|]*)")


def without_places(text: str) -> str:
    """Leave of each place on this machine only its last part.

    >>> without_places("/mnt/me/scenes/a.png: cannot be read; see a/b.png.")
    'a.png: cannot be read; see a/b.png.'
    >>> without_places(r"C:\\data\\mine\\b.png: is empty")
    'b.png: is empty'
    """
    return PLACE.sub(lambda found: found[1] or "...", text)

"""Shards: parts of a collection, each for a machine of its own."""

import re

from delaminate.errors import ConfigError

Shard = tuple[int, int]
"""Which part, from 1 on, and of how many."""


def parse_shard(text: str) -> Shard:
    """Read which part of how many.

    >>> parse_shard("2/4")
    (2, 4)

    Raises:
        ConfigError: It is none.
    """
    if not re.fullmatch(r"[0-9]{1,6}/[0-9]{1,6}", text):
        raise ConfigError(f"--shard {text}: expected I/N, the part and how many there are: 1/4, 2/4, 3/4 or 4/4.")
    part, count = text.split("/")
    return check_shard((int(part), int(count)))


def check_shard(shard: Shard) -> Shard:
    """Make sure that there is such a part.

    Raises:
        ConfigError: There is none.
    """
    part, count = shard
    if not 1 <= part <= count:
        raise ConfigError(
            f"--shard {part}/{count}: expected a part from 1 to {max(count, 1)}; they are counted from 1."
        )
    return part, count


def shard_rows(count: int, shard: Shard | None, batch: int = 1) -> range:
    """Say which of so many images are in a part: parts follow each other, and differ by one image at the most.

    Where there are batches enough, parts differ by one batch at the most, and begin where a batch would begin without
    parts: then what is computed batch by batch is the same to the bit.

    >>> [list(shard_rows(5, (part, 2))) for part in (1, 2)]
    [[0, 1], [2, 3, 4]]
    >>> [shard_rows(100, (part, 2), batch=40) for part in (1, 2)]
    [range(0, 40), range(40, 100)]

    Raises:
        ConfigError: There are more parts than images.
    """
    if shard is None:
        return range(count)
    part, parts = check_shard(shard)
    if parts > count:
        raise ConfigError(f"--shard {part}/{parts}: there are {count} images; expected at most as many parts.")
    batches = -(-count // batch)
    if batches >= parts:
        return range(batches * (part - 1) // parts * batch, min(batches * part // parts * batch, count))
    return range(count * (part - 1) // parts, count * part // parts)

"""Learn a dictionary of patterns, round by round: explain frames, estimate again, join, drop, and seek what is missing."""

import numpy as np

from delaminate.matching.exact.cells import lattice_tiles
from delaminate.matching.exact.parsing import reestimate, split
from delaminate.matching.exact.progress import FINISH, REVISE, SEEK, RoundState
from delaminate.matching.exact.pruning import hangs_together, join, prune
from delaminate.matching.exact.search import FrameStack, Search, explained, parse_all
from delaminate.matching.exact.seeking import (
    close,
    close_together,
    mirrored,
    recurring_regions,
    seek_components,
    seek_patches,
)
from delaminate.matching.exact.templates import HardSprite
from delaminate.matching.exact.translucent import translucent_sprites

SPLITS = 4
"""Times in a round that a pattern is cut in two, at most, where it stands: the ten digits of a score take four."""


def learn_round(
    scenes: FrameStack, patterns: list[HardSprite], search: Search, seed: int, state: RoundState | None = None
) -> list[HardSprite]:
    """One round of learning from some frames.

    Args:
        scenes: The frames, over their background.
        patterns: What earlier rounds have found.
        search: How to look.
        seed: Of the random numbers.
        state: Is kept up to date; one that an interrupted round has left is gone on from.

    Raises:
        InterruptedSearch: `search.progress` asked for it; `state` says how far the round has come.
    """
    state = RoundState(patterns=patterns) if state is None else state
    if search.components:
        return state.patterns + seek_components(scenes.fresh(search), state.patterns, search)
    if state.phase == REVISE:
        state.enter(SEEK, _revised(scenes, state.patterns, search))
    if state.phase == SEEK:
        _seek(scenes, search, seed, state)
        state.enter(FINISH, state.found)
    return _finished(scenes, state.patterns, search)


def _revised(scenes: FrameStack, patterns: list[HardSprite], search: Search) -> list[HardSprite]:
    """Join what always occurs together, and estimate every pattern again."""
    if not patterns:
        return patterns
    found = explained(scenes, patterns, search)
    joined = join(patterns, found, search)
    if joined != patterns:
        patterns = joined
        found = explained(scenes, patterns, search)  # places name patterns by their number
    return reestimate(scenes.fresh(search, patterns=patterns), patterns, found, search.growth)


def _seek(scenes: FrameStack, search: Search, seed: int, state: RoundState) -> None:
    """Find what is missing: regions that recur, mirror images, then patches that grow."""
    frames, _ = parse_all(scenes, state.patterns, search)
    room = search.most - len(state.patterns)
    # These find the same again if the round was interrupted.
    fresh = lattice_tiles(frames, search, room)
    close_together(frames, fresh, search)
    clear = translucent_sprites(frames, search, room - len(fresh))
    close_together(frames, clear, search)
    fresh += clear
    known = {pattern.key for pattern in state.patterns}
    digits = [piece for readout in search.readouts for piece in readout.pieces if piece.key not in known]
    digits = digits[: max(room - len(fresh), 0)]
    close_together(frames, digits, search)
    fresh += digits
    fresh += recurring_regions(frames, search, room - len(fresh))
    if not state.attempts:
        others = mirrored(frames, state.patterns + fresh, search) if search.flips else []
        state.tried, state.kept = fresh + [p for p, _ in others], [True] * len(fresh) + [kept for _, kept in others]
        state.together, state.attempts = len(fresh), 1
    else:
        for pattern in state.tried[state.together :]:
            close(frames, pattern, search)
    search.progress.tell(len(state.found), frames.share_explained)
    seek_patches(frames, search, seed, state)


def _finished(scenes: FrameStack, patterns: list[HardSprite], search: Search) -> list[HardSprite]:
    """Tell poses apart, estimate again, and drop what is not worth its description."""
    found = explained(scenes, patterns, search)
    there = max(int(np.count_nonzero(scenes.fresh(search).was_open)), 1)
    search.progress.tell(len(patterns), 1 - int(found.left.sum()) / there)
    for again in range(SPLITS):
        fresh = scenes.fresh(search, patterns=patterns)
        halves = split(fresh, patterns, found, search.growth, scenes.offsets, standing=again > 0)
        if len(halves) == len(patterns) or len(halves) > search.most:
            break
        patterns, found = halves, explained(scenes, halves, search)
    frames = scenes.fresh(search, patterns=patterns)
    patterns = reestimate(frames, patterns, found, search.growth)
    if not frames.codes.exact:
        patterns = [pattern for pattern in patterns if pattern.given or hangs_together(pattern)]
    return prune(scenes, patterns, search)

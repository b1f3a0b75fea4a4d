"""Whether objects keep their identity through a clip."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64
from scipy.optimize import linear_sum_assignment

from delaminate.metrics.segmentation import instance_iou

LONGEST_GAP = 2  # frames


@dataclass
class TrackMatches:
    """Which track follows each true object, frame by frame.

    In every frame, true and predicted objects of at least 4 visible pixels are matched one to one by IoU (Hungarian);
    pairs of 0.5 or more count. An object is followed in a frame by the track of its partner; it is not followed where
    it has no partner, or one without a track, or one whose track has a second object in that frame.

    An appearance of an object is a stretch of frames in which it is visible, gaps of up to 2 frames included. It is
    unbroken when it is followed by one track only and never lost for more than 2 frames in a row. After a longer
    absence an object may come back under another track.

    Attributes:
        threshold: The least IoU of a pair.
        num_frames: Frames so far.
        seen: Per true object, the frames in which it is visible, each with its track or None.
    """

    threshold: float = 0.5
    num_frames: int = 0
    seen: dict[int, list[tuple[int, int | None]]] = field(default_factory=dict)

    def update(
        self,
        true: Int64[np.ndarray, "H W"],
        predicted: Int64[np.ndarray, "H W"],
        tracks: Sequence[int | None],
    ) -> None:
        """Match the objects of the next frame.

        Args:
            true, predicted: Labels; true ones are the same for an object in all frames. 0 is background.
            tracks: The track of each predicted label, from label 1 on.
        """
        iou, true_names, names = instance_iou(true, predicted)
        followers = [tracks[name - 1] for name in names.tolist()]
        rows, columns = linear_sum_assignment(iou, maximize=True)
        partner = {r: c for r, c in zip(rows.tolist(), columns.tolist(), strict=True) if iou[r, c] >= self.threshold}
        for row, name in enumerate(true_names.tolist()):
            track = followers[partner[row]] if row in partner else None
            alone = track is None or followers.count(track) == 1
            self.seen.setdefault(name, []).append((self.num_frames, track if alone else None))
        self.num_frames += 1

    def figures(self) -> dict[str, float]:
        """The share of objects all of whose appearances are unbroken; 1 where there is no object."""
        good = [all(map(unbroken, appearances(frames))) for frames in self.seen.values()]
        return {"tracks_unbroken": float(np.mean(good)) if good else 1.0}


def appearances(frames: Sequence[tuple[int, int | None]]) -> list[list[tuple[int, int | None]]]:
    """Cut the frames of an object where it is away for more than 2 frames.

    >>> [len(part) for part in appearances([(0, 7), (3, 7), (7, 7)])]
    [2, 1]
    """
    parts: list[list[tuple[int, int | None]]] = []
    for number, track in frames:
        if not parts or number - parts[-1][-1][0] > LONGEST_GAP + 1:
            parts.append([])
        parts[-1].append((number, track))
    return parts


def unbroken(appearance: Sequence[tuple[int, int | None]]) -> bool:
    """Whether one track follows an appearance, lost for at most 2 frames in a row, its ends included.

    >>> unbroken([(0, 7), (1, None), (2, None), (3, 7)]), unbroken([(0, 7), (1, 8)]), unbroken([(0, None)])
    (True, False, False)
    """
    followed = [number for number, track in appearance if track is not None]
    if len({track for _, track in appearance if track is not None}) != 1:
        return False
    edges = [appearance[0][0] - 1, *followed, appearance[-1][0] + 1]
    return bool(max(np.diff(edges)) <= LONGEST_GAP + 1)

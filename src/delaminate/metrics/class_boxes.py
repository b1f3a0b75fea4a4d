"""Objects found and told apart, where the truth is boxes with classes: sprites are given classes by what they overlap."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import linear_sum_assignment

from delaminate.metrics.boxes import Box, areas, box_iou, tight_boxes
from delaminate.metrics.segmentation import MIN_INSTANCE_PIXELS


@dataclass
class ClassBoxMatches:
    """Boxes found in the right class, over a whole data set.

    Every sprite gets one class for the whole set: the one whose boxes it overlaps most, by the sum of IoU. A class may have
    several sprites, the poses of a walk; a sprite that overlaps nothing has no class, and its boxes are invented. Then, class
    by class, boxes of an image are matched one to one by IoU (Hungarian), and a pair is a find from `threshold` on. Otherwise
    as `BoxMatches`.
    """

    threshold: float = 0.5
    _true: list[dict[str, Float64[np.ndarray, "t 4"]]] = field(default_factory=list)
    _found: list[tuple[Float64[np.ndarray, "p 4"], list[Hashable], list[bool]]] = field(default_factory=list)
    _overlap: dict[Hashable, Counter[str]] = field(default_factory=dict)

    def update(
        self,
        boxes: Sequence[Box],
        ignored: Sequence[Box],
        predicted: Int64[np.ndarray, "H W"],
        sprites: Mapping[int, Hashable],
    ) -> None:
        """Take up the objects of one image.

        Args:
            boxes: Those to be found: category, left, top, width, height in pixels.
            ignored: Areas in which a prediction is neither right nor wrong.
            predicted: Labels of the predicted objects, 0 background.
            sprites: Which sprite each label shows, by whatever names a sprite.
        """
        places, inside = tight_boxes(predicted, areas(ignored, predicted.shape))
        keys = [sprites[label] for label in _counted(predicted)]
        true = {
            name: np.array([box[1:] for box in boxes if box[0] == name], dtype=np.float64)
            for name in dict.fromkeys(box[0] for box in boxes)
        }
        for name, of_class in true.items():
            for key, share in zip(keys, box_iou(places, of_class).max(1, initial=0.0), strict=True):
                if share > 0:
                    self._overlap.setdefault(key, Counter())[name] += share
        self._true.append(true)
        self._found.append((places, keys, inside.tolist()))

    def classes(self) -> dict[Hashable, str]:
        """The class of every sprite that has one."""
        return {key: shares.most_common(1)[0][0] for key, shares in self._overlap.items()}

    def by_class(self) -> dict[str, tuple[int, int, int]]:
        """Numbers of boxes matched, true and predicted, of each class; "" has what no class overlaps."""
        classes, counts = self.classes(), dict[str, list[int]]()
        for true, (places, keys, inside) in zip(self._true, self._found, strict=True):
            names = [classes.get(key, "") for key in keys]
            for name in {*true, *names}:
                mine = [index for index, other in enumerate(names) if other == name]
                here = true.get(name, np.zeros((0, 4)))
                iou = box_iou(here, places[mine])
                rows, columns = linear_sum_assignment(iou, maximize=True)
                right = {mine[column] for column in columns[iou[rows, columns] >= self.threshold]}
                judged = sum(index in right or not inside[index] for index in mine)
                count = counts.setdefault(name, [0, 0, 0])
                for place, number in enumerate((len(right), len(here), judged)):
                    count[place] += number
        return {name: (count[0], count[1], count[2]) for name, count in sorted(counts.items())}

    def figures(self) -> dict[str, float]:
        """Precision, recall and F1, all classes counted together; shares of nothing are 1 when both sides are empty, else 0."""
        matched, true, predicted = map(sum, zip((0, 0, 0), *self.by_class().values(), strict=True))
        empty = float(true == predicted == 0)
        return {
            "class_box_precision": matched / predicted if predicted else empty,
            "class_box_recall": matched / true if true else empty,
            "class_box_f1": 2 * matched / (true + predicted) if true + predicted else empty,
        }


def _counted(labels: Int64[np.ndarray, "H W"]) -> list[int]:
    """The labels that `tight_boxes` gives a box, in its order."""
    return [label for label, size in enumerate(np.bincount(labels.ravel())) if label and size >= MIN_INSTANCE_PIXELS]

"""What `delaminate bench` can reproduce: one row for each table."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Bench:
    """One row of the tables.

    Attributes:
        about: What is shown, in one line.
        preset, method: What is trained.
        data: A built-in set; drawn sets are trained on their training range.
        settings: Changes to the preset.
        count: Training images of a drawn set.
        test: Images of a drawn test set, the last images of a real one that are not trained on, or None to score on the
            training images, as the paper does for real sets.
        test_data: Another built-in set to score on, when it is not `data`.
        unlabelled: Train on the photos of a real set that have no masks, too.
        clip: Learn from the very clip that is scored, as a user would; labels stay unseen.
        minutes: Budget of a seed.
        published: The paper's figures, by our names, with their source.
    """

    about: str
    preset: str
    data: str
    settings: dict[str, Any] = field(default_factory=dict)
    method: str = "dti-sprites"
    count: int | None = None
    test: int | None = 320
    test_data: str = ""
    unlabelled: bool = False
    clip: bool = False
    minutes: float = 60.0
    published: dict[str, float] = field(default_factory=dict)


PUBLISHED_TETROMINOES = {"ari_fg_helped": 0.996, "ari": 0.998, "class_accuracy": 0.995, "class_miou": 0.991}

# Table 1 of the paper (arXiv v1): Dubey's game at 128 x 128 after 42 GPU hours; IoU threshold and split are not stated.
PUBLISHED_GAME = {"precision": 0.535, "recall": 0.356, "iou": 0.843, "psnr": 23.5}

BENCHES = {
    "tetrominoes-search": Bench(
        "sprites found by matching alone, from nothing, within a minute", "tetrominoes", "tetrominoes",
        {"distil_steps": 0, "steps": 0}, count=4_000, minutes=1, published=PUBLISHED_TETROMINOES,
    ),
    "tetrominoes": Bench(
        "search, then the encoder learns to predict the placements, then gradients", "tetrominoes", "tetrominoes",
        count=20_000, minutes=30, published=PUBLISHED_TETROMINOES,
    ),
    "tetrominoes-paper": Bench(
        "the paper's training alone within the same budget", "tetrominoes-paper", "tetrominoes",
        count=60_000, minutes=30, published=PUBLISHED_TETROMINOES,
    ),
    "multi-dsprites": Bench(
        "rotated and scaled shapes that hide each other, on grey", "multi-dsprites", "multi-dsprites",
        count=20_000, minutes=45, published={"ari_fg_helped": 0.925, "class_accuracy": 0.913, "class_miou": 0.84},
    ),
    "multi-dsprites-colour": Bench(
        "the same on backgrounds of any colour", "multi-dsprites", "multi-dsprites-colour", count=20_000, minutes=45,
    ),
    "floating-sprites": Bench(
        "sprites that float and hide each other, found by search", "floating-sprites", "floating-sprites",
        method="marionette", count=240, minutes=5,
    ),
    "platform-game": Bench(
        "random levels of a platform game, found by search", "platform-game", "platform-game",
        method="marionette", count=240, test=200, minutes=10, published=PUBLISHED_GAME,
    ),
    "platform-game-dubey": Bench(
        "random levels of the game of Dubey et al., found by search", "platform-game", "platform-game-dubey",
        method="marionette", count=240, test=200, minutes=10, published=PUBLISHED_GAME,
    ),
    "platform-game-network": Bench(
        "the paper's network alone, no search, for as long as the budget lasts (the paper: 42 hours on a GPU)",
        "platform-game-paper", "platform-game-dubey", {"image_size": [230, 230], "batch": 2, "bf16": True},
        method="marionette", count=2_000, test=40, minutes=50, published=PUBLISHED_GAME,
    ),
    "space-invaders": Bench(
        "recorded play; scored on other play by boxes from the console's memory", "space-invaders", "space-invaders",
        method="marionette", count=600, test_data="space-invaders-sample", minutes=10,
    ),
    "side-scroller": Bench(
        "a clip of 60 s over a scrolled panorama; learned from the clip itself", "video", "side-scroller",
        method="marionette", count=1_800, test=1_800, clip=True, minutes=15,
    ),
    "text-pages": Bench(
        "letters of printed pages, learned from one page and scored on others", "text-pages", "text-goethe1809",
        {"search_steps": 1, "search_batch": 1}, method="marionette", count=50, test=4, minutes=25,
    ),
    "gtsrb8": Bench(
        "traffic signs of eight classes, clustered; a shortened schedule", "gtsrb8", "gtsrb8",
        {"bf16": True}, test=None, minutes=90, published={"clustering_accuracy": 0.899},
    ),
    "colored-2-mnist": Bench(
        "two digits and a background, each a region that can be redrawn; 32 x 32", "colored-2-mnist",
        "colored-2-mnist", {"bf16": True}, method="redo", count=20_000, minutes=12,
    ),
    "colored-2-mnist-64": Bench(
        "the same at 64 x 64", "colored-2-mnist", "colored-2-mnist",
        {"image_size": [64, 64], "bf16": True}, method="redo", count=20_000, minutes=60,
    ),
    "redo-flowers17": Bench(
        "flowers cut out of photos, 64 x 64; trained and scored on the same photos, labels unseen", "photos", "flowers17",
        {"bf16": True}, method="redo", test=None, minutes=60,
        published={"iou_best": 0.764, "accuracy_best": 0.879},
    ),
    "redo-clothing": Bench(
        "dressed people cut out of photos, 64 x 64; trained on these and on photos without masks, labels unseen", "photos",
        "clothing-ccp", {"centre_prior": 2.0, "augment_below": 0, "refine_weight": 3.0, "bf16": True}, method="redo",
        unlabelled=True, test=None, minutes=60,
    ),
    "redo-butterflies": Bench(
        "butterflies cut out of photos, 64 x 64; trained and scored on the same photos, labels unseen", "photos", "butterflies",
        {"bf16": True}, method="redo", test=None, minutes=60,
    ),
    "objects-on-texture": Bench(
        "one figure on a drawn texture, 32 x 32: layers from noise, then a segmenter", "objects-on-texture",
        "objects-on-texture", {"bf16": True}, method="perturbgan", count=20_000, minutes=60,
    ),
    "objects-on-texture-still": Bench(
        "the same without the shift, and without restarts: what it is good for", "objects-on-texture",
        "objects-on-texture", {"shift": 0.0, "monitor_share": 0.0, "encoder_steps": 0, "bf16": True},
        method="perturbgan", count=20_000, minutes=60,
    ),
    "redo-objects-on-texture": Bench(
        "the same scenes by ReDO, which cannot know what moves", "photos", "objects-on-texture",
        {"image_size": [32, 32], "bf16": True}, method="redo", count=20_000, minutes=60,
    ),
    "perturbgan-flowers17": Bench(
        "flowers cut out of photos, 64 x 64; trained and scored on the same photos, labels unseen", "photos", "flowers17",
        {"bf16": True}, method="perturbgan", test=None, minutes=60,
    ),
    "weizmann-horse": Bench(
        "horses cut out of photos; a shortened schedule", "weizmann-horse", "weizmann-horse",
        {"bf16": True}, test=None, minutes=60, published={"accuracy_split": 0.879},
    ),
}  # fmt: skip

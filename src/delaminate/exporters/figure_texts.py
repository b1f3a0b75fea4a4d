"""What the figures of `evaluate` mean, each in one plain sentence: the one place for reports and the command line."""

EXPLANATIONS = {
    "ari": "How well the found regions agree with the true ones, background included; 1 is perfect, 0 is chance.",
    "ari_fg": "How well the found objects agree with the true ones, looking only at pixels of true objects; 1 is "
    "perfect, 0 is chance.",
    "ari_fg_helped": "The same agreement when every object pixel must choose its best object, as published results do.",
    "class_accuracy": "Share of pixels with the right kind of object, after the kinds have been matched up.",
    "class_miou": "Overlap of each kind of object with the truth, averaged over kinds.",
    "clustering_accuracy": "Share of images put into the right group, after the groups have been matched up.",
    "nmi": "What groups and true classes tell about each other, of what there is to know; 1 is perfect, 0 nothing.",
    "accuracy": "Share of pixels on the right side of the line between object and background.",
    "iou": "Overlap of all found objects together with all true ones: shared pixels divided by all pixels of either.",
    "miou": "Overlap of the found regions with the true ones, averaged over all regions.",
    "baseline_all": "What calling everything object would score: the overlap with two regions, else that of all regions.",
    "baseline_disc": "What a disc in the middle would score, as large as the found objects are on average.",
    "baseline_colour": "What grouping pixels by colour alone would score; the group with most border is the background.",
    "role_swaps": "Share of images in which object and background are the wrong way round.",
    "iou_sampled": "Overlap of the masks of scenes drawn from noise with what a network that was taught by labels sees there.",
    "iou_judge": "What that network itself scores on unseen images with labels: it is no better a judge than that.",
    "precision": "Share of the found objects that are real ones: they overlap a true object at least by half.",
    "recall": "Share of the true objects that were found: they are overlapped at least by half.",
    "f1": "Precision and recall in one number, which is high only when both are.",
    "f1_25": "Precision and recall in one number when a quarter of overlap is enough.",
    "f1_75": "Precision and recall in one number when three quarters of overlap are asked for.",
    "f1_mean": "Precision and recall in one number, averaged from half to nearly full overlap.",
    "box_precision": "Share of the found objects whose box overlaps a true box at least by half.",
    "box_recall": "Share of the true boxes that were found: a found object's box overlaps them at least by half.",
    "box_f1": "Precision and recall of boxes in one number, which is high only when both are.",
    "tracks_unbroken": "Share of the true objects that keep one track while they are in view.",
    "ink_explained": "Share of the ink on the pages that the rebuilt pages show.",
    "sprites_found": "How many of the sprites that the images were drawn from are in the dictionary.",
    "sprites_true": "How many sprites the images were drawn from.",
    "dead_sprites": "How many entries of the dictionary are used by no image.",
    "fid": "How far the crowd of painted scenes is from the crowd of images, in the features of the network that was brought; "
    "0 is no difference.",
    "psnr_soft": "The same before the network makes up its mind, as while it trains.",
    "psnr": "How close the rebuilt images are to the originals, in decibels; 30 looks good, 40 looks the same.",
    "reconstruction_error": "Mean squared difference between rebuilt and original images; 0 is identical.",
    "rounding_error": "The largest change, of 1, that saving with 8 bits makes in any pixel of a rebuilt image.",
    "images_per_second": "How many images are taken apart in one second on this machine.",
    "count": "How many images the figures were measured on.",
}

SIGNALS = {
    "loss": "What training lowers. Values of different stages need not be comparable; those of adversaries say little.",
    "check": "The error of a fixed hundred images, measured without labels.",
    "active": "How many sprites are in use.",
}
"""Signals of every training, in the order of its page; methods add their own (`Method.training_signals`)."""

VARIANTS = {
    "_split": " Which found region is which was decided once for all images; the protocol says on which.",
    "_best": " Which found region is which was decided for each image in its own favour, as some papers do.",
}

LAYER_STEPS = (
    "Look at the layers in a paint program: `delaminate export SCENES --to ora --out DIR` writes files for Krita.",
    "Move, hide or fade a layer: `delaminate edit SCENES hide --layer ID`; `delaminate recompose SCENES --out DIR` shows "
    "what has become of the images.",
    "Take the cut-outs with you: `delaminate export SCENES --to png,masks,coco --out DIR` writes a picture and a mask of "
    "each layer, and annotations for training.",
)
"""What to do with scenes whose layers share no sprites."""
SPRITE_STEPS = (
    LAYER_STEPS[0],
    "Redraw one sprite in the scenes' `dictionary` folder; `delaminate recompose SCENES --out DIR` shows it "
    "in every image that uses it.",
    "Sprites that repeat each other or show two things at once: train with fewer or more of them.",
    "Take the sprites into a game: `delaminate export SCENES --to atlas,aseprite,tiled --out DIR` writes sheets, "
    "animations and maps.",
)

# Figures from 0 to 1, which get a small bar.
SHARES = frozenset(
    {"ari", "ari_fg", "ari_fg_helped", "class_accuracy", "class_miou", "clustering_accuracy", "accuracy", "iou", "miou"}
    | {"precision", "recall", "f1", "f1_25", "f1_75", "f1_mean", "box_precision", "box_recall", "box_f1", "nmi"}
    | {
        "tracks_unbroken",
        "ink_explained",
        "baseline_all",
        "baseline_disc",
        "baseline_colour",
        "role_swaps",
        "iou_sampled",
    }
    | {"iou_judge"}
)


def base_name(name: str) -> str:
    """Take the variant off a figure's name.

    >>> base_name("iou_best")
    'iou'
    """
    for suffix in VARIANTS:
        name = name.removesuffix(suffix)
    return name


def explanation(name: str) -> str:
    """Explain a figure, or say nothing.

    >>> explanation("count")
    'How many images the figures were measured on.'
    """
    text = EXPLANATIONS.get(base_name(name), "")
    if not text:
        return ""
    return text + "".join(extra for suffix, extra in VARIANTS.items() if name.endswith(suffix))

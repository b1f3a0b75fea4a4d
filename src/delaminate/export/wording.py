"""What the figures of a report mean, each in one plain sentence."""

EXPLANATIONS = {
    "ari": "How well the found regions agree with the true ones, background included; 1 is perfect, 0 is chance.",
    "ari_fg": "How well the found objects agree with the true ones, looking only at pixels of true objects; 1 is "
    "perfect, 0 is chance.",
    "ari_fg_helped": "The same agreement when every object pixel must choose its best object, as published results do.",
    "class_accuracy": "Share of pixels with the right kind of object, after the kinds have been matched up.",
    "class_miou": "Overlap of each kind of object with the truth, averaged over kinds.",
    "clustering_accuracy": "Share of images put into the right group, after the groups have been matched up.",
    "accuracy": "Share of pixels on the right side of the line between object and background.",
    "iou": "Overlap of the found objects with the true ones: shared pixels divided by all pixels of either.",
    "miou": "Overlap of the found regions with the true ones, averaged over all regions.",
    "precision": "Share of the found objects that are real ones: they overlap a true object at least by half.",
    "recall": "Share of the true objects that were found: they are overlapped at least by half.",
    "f1": "Precision and recall in one number, which is high only when both are.",
    "psnr": "How close the rebuilt images are to the originals, in decibels; 30 looks good, 40 looks the same.",
    "reconstruction_error": "Mean squared difference between rebuilt and original images; 0 is identical.",
    "rounding_error": "The largest change, of 1, that saving with 8 bits makes in any pixel of a rebuilt image.",
    "images_per_second": "How many images are taken apart in one second on this machine.",
    "count": "How many images the figures were measured on.",
}

VARIANTS = {
    "_split": " Which found region is which was decided once for all images, on other images.",
    "_best": " Which found region is which was decided for each image in its own favour, as some papers do.",
}

NEXT_STEPS = (
    "Look at the layers in a paint program: `delaminate export SCENES --to ora --out DIR` writes files for Krita.",
    "Draw one sprite anew in the scenes' `dictionary` folder; `delaminate recompose SCENES` then changes every image "
    "that uses it.",
    "Sprites that repeat each other or show two things at once: train with fewer or more of them.",
    "Take the sprites into a game: `delaminate export SCENES --to atlas --out DIR` writes a sprite sheet.",
)

# Figures from 0 to 1, which get a small bar.
SHARES = frozenset(
    {"ari", "ari_fg", "ari_fg_helped", "class_accuracy", "class_miou", "clustering_accuracy", "accuracy", "iou", "miou"}
    | {"precision", "recall", "f1"}
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

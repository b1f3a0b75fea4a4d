"""Measuring: what labels are for."""

from delaminate.metrics.assignment import (
    clustering_accuracy,
    hungarian,
    majority,
    normalized_mutual_information,
)
from delaminate.metrics.foreground import foreground_figures
from delaminate.metrics.images import frechet_distance, psnr
from delaminate.metrics.report import evaluate
from delaminate.metrics.segmentation import (
    ClassConfusion,
    InstanceMatches,
    adjusted_rand_index,
    ari,
    ari_fg,
    ari_fg_helped,
)

__all__ = [
    "ClassConfusion",
    "InstanceMatches",
    "adjusted_rand_index",
    "ari",
    "ari_fg",
    "ari_fg_helped",
    "clustering_accuracy",
    "evaluate",
    "foreground_figures",
    "frechet_distance",
    "hungarian",
    "majority",
    "normalized_mutual_information",
    "psnr",
]

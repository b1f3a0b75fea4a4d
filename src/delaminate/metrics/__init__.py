"""Measuring: what labels are for."""

from delaminate.metrics.assignment import (
    clustering_accuracy,
    hungarian,
    majority,
    normalized_mutual_information,
)
from delaminate.metrics.baselines import baseline_figures, centred_disc, colour_regions
from delaminate.metrics.boxes import BoxMatches
from delaminate.metrics.class_boxes import ClassBoxMatches
from delaminate.metrics.dictionaries import dictionary_figures, match_sprites
from delaminate.metrics.evaluation import evaluate
from delaminate.metrics.foreground import covered, foreground_figures, role_swaps
from delaminate.metrics.images import frechet_distance, ink_explained, psnr
from delaminate.metrics.segmentation import (
    ClassConfusion,
    InstanceMatches,
    adjusted_rand_index,
    ari,
    ari_fg,
    ari_fg_helped,
)
from delaminate.metrics.tracks import TrackMatches

__all__ = [
    "BoxMatches",
    "ClassBoxMatches",
    "ClassConfusion",
    "InstanceMatches",
    "TrackMatches",
    "adjusted_rand_index",
    "ari",
    "ari_fg",
    "ari_fg_helped",
    "baseline_figures",
    "centred_disc",
    "clustering_accuracy",
    "colour_regions",
    "covered",
    "dictionary_figures",
    "evaluate",
    "foreground_figures",
    "frechet_distance",
    "hungarian",
    "ink_explained",
    "majority",
    "match_sprites",
    "normalized_mutual_information",
    "psnr",
    "role_swaps",
]

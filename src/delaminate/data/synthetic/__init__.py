"""Drawn scenes with known layers: every image follows from its seed."""

from delaminate.data.synthetic.scenes import DRAWINGS, SPLITS, Split, draw, draw_images, true_sprites

__all__ = ["DRAWINGS", "SPLITS", "Split", "draw", "draw_images", "true_sprites"]

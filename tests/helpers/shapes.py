"""Shapes for the tests of search by regions."""

import math

import torch

from delaminate.matching.shapes import FILL


def square(side=28):
    """A square that fills its share of a sprite's square."""
    half = side * math.sqrt(FILL) / 2
    line = (torch.arange(side) + 0.5 - side / 2).abs() < half
    return (line[:, None] & line[None]).float()

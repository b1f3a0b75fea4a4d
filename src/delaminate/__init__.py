"""Delaminate takes images apart into layers, without labels."""

__version__ = "0.1.0"

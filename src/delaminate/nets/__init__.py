"""Bricks and published architectures; no layers."""

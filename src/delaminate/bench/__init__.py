"""Benchmarks: train to a published number and record what came out."""

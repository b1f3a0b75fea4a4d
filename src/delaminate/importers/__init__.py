"""Importers: what people edited in other programs, read back.

A reader makes a `Document` of a file; `comparison` says which edits lead from a scene to it.
"""

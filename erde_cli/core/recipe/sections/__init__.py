"""The sections of a recipe: every key, its type, its default and its bounds.

Imports `base.py`, and light modules of `core`.
Start reading in `network.py`.
"""

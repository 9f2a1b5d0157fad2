"""The sections of a recipe, one file each: every key, its type, its default and its bounds.

May import the tables of `recipe`, `thresholds`, and the modules of `core` itself; never torch.
Start reading in `network.py`.
"""

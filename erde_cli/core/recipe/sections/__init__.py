"""The sections of a recipe, one per file: every key with its type, default and bounds.

May import the tables of `recipe`, `thresholds`, and the modules of `core` itself; never torch.
Start reading in `network.py`.
"""

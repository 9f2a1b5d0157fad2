"""The sections of a recipe, one file each: every key, its type, its default and its bounds.

May import the tables of `recipe` and the modules next to `core`'s packages; never torch.
Start reading in `network.py`.
"""

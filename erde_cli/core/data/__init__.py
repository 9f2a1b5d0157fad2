"""Data sets, their splits, the uint8 store, augmentation, batches.

May import `images`, `recipe` and what lies below.
Start reading in `dataset.py`.
"""

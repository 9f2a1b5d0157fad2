"""Data sets, their splits, the uint8 store, augmentation, and batches.

Imports `images`, `recipe`, `storage`.
Start reading in `dataset.py`.
"""

"""Losses, objectives, the training loop and its state, checkpoints, a teacher's logits.

Imports `inference`, `models`, `data`, `recipe`, `storage`.
Start reading in `loop.py`.
"""

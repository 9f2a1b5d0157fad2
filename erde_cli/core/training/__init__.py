"""Losses, objectives, the training loop and its state, checkpoints, a teacher's logits.

May import `inference` and what lies below.
Start reading in `loop.py`.
"""

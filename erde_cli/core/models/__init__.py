"""Backbones as chains of blocks, heads, early-exit networks, folding, MACs.

Imports `recipe`, `storage`.
Start reading in `early_exit.py`.
"""

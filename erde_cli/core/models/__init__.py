"""Backbones as chains of blocks, heads, early-exit networks, folding, multiply-adds.

May import `recipe` and what lies below.
Start reading in `architecture.py`.
"""

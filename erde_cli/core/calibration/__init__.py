"""Scores and labels in, thresholds out: grid, search, guarantee, temperature, drift.

Imports `inference`, `recipe`, `storage`.
Start reading in `estimate.py`.
"""

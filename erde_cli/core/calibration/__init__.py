"""Scores and labels in, thresholds out: grid, search, guarantee, temperature, drift.

May import `inference` and what lies below.
Start reading in `estimate.py`.
"""

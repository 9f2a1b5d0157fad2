"""Choose thresholds from scores and labels: grid, search, guarantee, temperature, drift.

May import `inference` and what lies below.
Start reading in `estimate.py`.
"""

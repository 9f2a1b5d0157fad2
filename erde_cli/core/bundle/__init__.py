"""A trained model on disk: weights, architecture, provenance, thresholds.

May import `calibration`, `training` and what lies below.
Start reading in `bundle.py`.
"""

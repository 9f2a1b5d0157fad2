"""A trained model on disk: weights, architecture, provenance, thresholds.

Imports `calibration`, `inference`, `models`, `data`, `storage`.
Start reading in `bundle.py`.
"""

"""Exit scores, the written form of thresholds, and calibration targets.

May import `errors`; nothing heavy, so that a wrong target is refused at once.
Start reading in `targets.py`.
"""

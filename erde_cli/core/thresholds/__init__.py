"""Exit scores, the written form of their thresholds, and what thresholds are chosen for.

May import `errors`; nothing heavy, so that a wrong target is refused at once.
Start reading in `targets.py`.
"""

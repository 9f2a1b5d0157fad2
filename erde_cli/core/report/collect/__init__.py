"""What a report contains, collected from a run, a comparison or a bundle.

May import what `report` may.
Start reading in `run.py`.
"""

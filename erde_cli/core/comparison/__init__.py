"""Students of one recipe: their plan, curves over cost, paired differences, verdicts.

Imports `bundle`, `calibration`, `inference`, `recipe`, `storage`.
Start reading in `plan.py`.
"""

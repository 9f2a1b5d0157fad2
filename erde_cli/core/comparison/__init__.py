"""Comparisons of students: recipes, curves over cost, paired differences, verdicts.

May import `export` and what lies below.
Start reading in `plan.py`.
"""

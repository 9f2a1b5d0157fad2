"""Scores, the exit rule, routing through stages, answers of every exit, predictions.

Imports `models`, `data`.
Start reading in `routing.py`.
"""

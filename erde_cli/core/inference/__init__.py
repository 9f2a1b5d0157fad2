"""The exit rule, routing through the stages, answers of every exit, predictions.

May import `models`, `data` and what lies below.
Start reading in `routing.py`.
"""

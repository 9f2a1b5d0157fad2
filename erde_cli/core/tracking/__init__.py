"""Listeners that send the events of a run to trackers: TensorBoard, MLflow, Weights & Biases.

May import `bundle` and what lies below.
Start reading in `trackers.py`.
"""

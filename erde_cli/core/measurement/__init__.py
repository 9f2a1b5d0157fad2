"""Latency, memory and the speed of training, measured in interleaved rounds.

May import `export` and what lies below.
Start reading in `latency.py`.
"""

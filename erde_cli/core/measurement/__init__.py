"""Latency, memory, and training speed, measured in interleaved rounds.

Imports `export`, `inference`, `models`.
Start reading in `latency.py`.
"""

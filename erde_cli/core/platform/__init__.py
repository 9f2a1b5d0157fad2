"""The process and the libraries it runs on: threads, memory, signals, missing packages.

Imports `errors`.
Start reading in `extras.py`.
"""

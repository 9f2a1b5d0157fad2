"""The process and the libraries it runs on: threads, memory, signals, packages that are missing.

May import `errors`.
Start reading in `extras.py`.
"""

"""The process and its libraries: threads, memory, signals, missing packages.

May import `errors`.
Start reading in `extras.py`.
"""

"""One training in several processes: what they agree on, and what one of them does for all.

Start reading in `engine.py`.
"""

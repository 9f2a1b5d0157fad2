"""One training in several processes: what they agree on, and what one of them does for all.

May import `platform` and what lies below.
Start reading in `engine.py`.
"""

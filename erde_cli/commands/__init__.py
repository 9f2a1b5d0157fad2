"""Subcommands: one short file each parses, calls one workflow, and shows its result.

May import `core`; what needs torch or pydantic inside a function, so that --help stays fast.
Start reading in `train_teacher.py`, then `options.py`.
"""

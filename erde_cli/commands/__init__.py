"""Subcommands: one short file each parses, calls one workflow, and shows its result.

May import `core`; what needs torch or pydantic only inside a function, so that --help stays quick.
Start reading in `train_teacher.py`, then `options.py`.
"""

"""Subcommands: one short file each parses, calls one workflow, and shows its result.

May import `core`, but torch and pydantic only inside functions, so that --help stays fast.
Start reading in `train_teacher.py`, then `options.py`.
"""

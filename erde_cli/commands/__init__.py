"""Subcommands: one short file each parses, calls one workflow, and shows its result.

Imports `views`, `core.workflows`, and light modules below them.
Start reading in `train_teacher.py`.
"""

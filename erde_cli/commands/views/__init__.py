"""Everything that knows Rich: tables, rows, progress on stderr, results on stdout.

Imports results of the workflows, as types.
Start reading in `terminal.py`.
"""

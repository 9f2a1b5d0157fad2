"""Everything that uses Rich: tables, rows and progress on stderr, results on stdout.

May import `core`, mostly for types.
Start reading in `terminal.py`.
"""

"""One function per subcommand: the only place where all packages meet.

May import every package of `core`.
Start reading in `run.py`.
"""

"""One file per subcommand: parse, call one function of the core, show what it gives.

Nothing here imports torch or pydantic before a command runs: `erde --help` stays quick.
"""

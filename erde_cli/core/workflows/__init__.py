"""One function per subcommand: the only place where the rooms meet."""

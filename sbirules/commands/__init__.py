"""The commands of the command line: a module each with `run(args)`, which returns the exit code."""

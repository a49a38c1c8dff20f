"""With which code the command line ends."""

__all__ = ["CODES", "EXIT"]

EXIT = {"done": 0, "failed checks": 1, "wrong input": 2, "interrupted": 130, "terminated": 143}
CODES = (
    "exit codes: 0 done; 1 done, but with --strict a check failed; 2 wrong input; 130 interrupted, 143 terminated (run "
    "again to go on)"
)

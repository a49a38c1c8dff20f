"""Search over structures of rules: problems that score them, searches, and the tree that a search leaves."""

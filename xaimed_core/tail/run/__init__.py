"""Drops from a plan or from rows, in chunks."""

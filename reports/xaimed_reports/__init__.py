"""Results of a run: what they are, how two of them compare, how they are shown. Needs no torch."""

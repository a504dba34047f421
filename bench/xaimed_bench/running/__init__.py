"""How `pytest bench` runs: which cases in which order, and where their results go."""

"""How benches run, by pytest or by `xaimed bench`: which cases in which order, and where their results go."""

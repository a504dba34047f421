"""The harness: what is measured, on which data and models, and the command `xaimed`."""

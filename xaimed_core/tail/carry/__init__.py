"""How a change of one channel is carried through operations."""

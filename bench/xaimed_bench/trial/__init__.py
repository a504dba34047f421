"""How far the gate can be trusted: runs of equal and of really slower code, compared."""

"""Methods that look at the whole network."""

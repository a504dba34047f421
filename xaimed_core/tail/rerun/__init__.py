"""The tail run again by the model's own code."""

"""Methods that read the attention between the tokens of a transformer."""

"""The tail as a list of operations, free of the batch size."""

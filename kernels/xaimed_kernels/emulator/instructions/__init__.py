"""What PTX instructions do, each a function on arrays of one value a thread."""

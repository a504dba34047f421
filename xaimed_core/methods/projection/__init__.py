"""Methods that show a principal component of the activations."""

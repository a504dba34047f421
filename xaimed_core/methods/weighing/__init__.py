"""Methods whose channel weights come of the activations alone."""

"""Methods that sum activations weighed by a formula of activation and gradient."""

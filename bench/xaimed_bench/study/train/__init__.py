"""`xaimed train`: a network fitted to a set of images, resumable at any moment, with all that is needed to judge it."""

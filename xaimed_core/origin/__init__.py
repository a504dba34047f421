"""Which axis of the images each axis of a layer's output came from."""

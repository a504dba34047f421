"""Methods that average derivatives over noisy images."""

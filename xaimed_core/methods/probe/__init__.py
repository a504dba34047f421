"""Methods that change a channel, or show the image through it, and read the score."""

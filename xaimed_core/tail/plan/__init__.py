"""What is done once for all channels, and what row by row."""

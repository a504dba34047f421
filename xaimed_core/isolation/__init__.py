"""What keeps an explanation invisible: copies that share tensors, and a thread left as it was."""

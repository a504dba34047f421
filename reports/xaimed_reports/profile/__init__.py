"""Profile cards, rooflines and static figures of kernels, compared and shown."""

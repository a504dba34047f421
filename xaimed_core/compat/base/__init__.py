"""What grad-cam's classes share here: hooks of a subclass, arithmetic on arrays, augmentations."""

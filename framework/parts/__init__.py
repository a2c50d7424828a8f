"""The registered builders: bases, poolings, heads, optimizers, schedules, losses, metrics, callbacks, augmentations."""

"""Many networks of one shape, trained on the same images as one."""

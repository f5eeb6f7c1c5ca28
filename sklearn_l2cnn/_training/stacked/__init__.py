"""Many networks of one shape, trained as one."""

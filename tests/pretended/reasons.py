"""Why some tests fail where ``device="auto"`` is a pretended device, and may."""

# Beginnings of the names of tests, by reason.
REASONS = {}

"""From weighted images to a trained network."""

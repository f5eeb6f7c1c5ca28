"""What an array of images, a label and a weight is."""

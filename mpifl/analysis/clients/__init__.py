"""What clients did: how far they moved, and what their models make of images."""

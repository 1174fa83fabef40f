"""The loss around a model, and on the way to others."""

"""Figures: panels of traces, drawn as pictures or as pages."""

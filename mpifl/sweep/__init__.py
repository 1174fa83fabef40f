"""The runs of a grid."""

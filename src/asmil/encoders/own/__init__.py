"""Encoders of your own: a file each with its CARD, and `build` or `load` where timm does not build it."""

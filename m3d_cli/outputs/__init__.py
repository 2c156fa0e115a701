"""Depth maps to files: each appears whole or not at all."""

"""Depth of many frames made one surface, and surfaces compared."""

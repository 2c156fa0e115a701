"""Frames in their order: pictures with depth, times and poses that belong to them."""

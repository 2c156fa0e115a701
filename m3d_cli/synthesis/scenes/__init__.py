"""Kinds of scenes, one module per place."""

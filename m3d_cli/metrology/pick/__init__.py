"""The local page on which a person picks points, and its server."""

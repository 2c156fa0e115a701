"""Points, planes and dimensions in camera space."""

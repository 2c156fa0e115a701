"""Training in canonical space, on frames of many cameras mixed."""

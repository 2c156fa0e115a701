"""Annotated frames for training and evaluation: photos with known metric depth, read from disk or rendered."""

"""Lengths, heights, areas and angles from one photo's metric depth, each with its interval and what limits it."""

"""Frames in order: poses, odometry, metric scale, fusion into surfaces, and video."""

"""Clips: frames with their times out of a video, depth made steady over time, and a video to look at."""

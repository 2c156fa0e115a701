"""Trajectories in metres: odometry on depth, and the scale of trajectories that have none."""

"""Running a network over photos: device, batches, and the way back to metres."""

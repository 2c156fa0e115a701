"""Running many photos: planning, the journal, resuming, workers."""

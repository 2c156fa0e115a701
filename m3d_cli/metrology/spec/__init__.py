"""Files that say what to measure: measurement files and annotations of other tools."""

"""Files that m3d writes and reads, one module per format, reader beside writer."""

"""Calibration files, one reader per format, and which entry of a file belongs to which photo."""

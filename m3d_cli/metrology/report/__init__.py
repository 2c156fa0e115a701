"""Measurements as reports: JSON, tables, HTML and annotated photos."""

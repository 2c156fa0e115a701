"""m3d: ordinary photos into metric 3-D, with Metric3D's canonical camera space."""

__version__ = "0.1.0"

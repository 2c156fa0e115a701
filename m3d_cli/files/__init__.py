"""Bytes on disk to photos: finding files, decoding them upright, and recovering the camera that took them."""

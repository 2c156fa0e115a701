"""Rendered frames with exact depth and normals: scenes, textures, light and the renderer."""

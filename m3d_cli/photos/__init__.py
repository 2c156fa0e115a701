"""Files and URLs to upright pixels: find photos, read their headers, decode them, load them with their camera."""

"""How a plugin is found, imported and read; `benchmark.plugins` is the face of this package."""

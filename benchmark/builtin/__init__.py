"""Data sets, models, attack grids, metrics and controls that come with the harness."""

"""The results folder: one SQLite file of records, and weights under their own hashes. No torch."""

from benchmark.store.artifacts import ArtifactStore
from benchmark.store.database import Store

__all__ = ["ArtifactStore", "Store"]

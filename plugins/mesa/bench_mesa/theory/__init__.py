"""The paper's theorems on densities that are known: exact, and with trained generators."""

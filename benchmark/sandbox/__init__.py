"""The process in which plugin code runs: what goes in, what comes out, limits."""

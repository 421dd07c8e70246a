"""Observers that come with the harness; each is asked for on the command line."""

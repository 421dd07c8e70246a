"""What this machine can do, what stands in the way, and how long each preset takes here."""

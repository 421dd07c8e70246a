"""From stored trials to tables and files. No torch; pandas and rich only inside the modules."""

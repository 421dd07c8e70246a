"""The report that people look at: one HTML page, and its figures as files. No torch."""

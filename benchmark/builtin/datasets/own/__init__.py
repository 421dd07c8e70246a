"""A user's own images as the data set `files`: class folders, an `.npz` file or parquet files."""

"""Parquet: the rows of results, and image data sets. Nothing else in the project imports pyarrow or DuckDB."""

"""Parquet files: rows, adversarial images and image data sets. Nothing else imports pyarrow or DuckDB."""

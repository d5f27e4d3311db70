"""The sweep: spec → cells → shards → workers → rows → tables, figures and MLflow runs."""

"""Run a sweep: make its victims ready, run the shards that are left, then the transfers."""

"""Run a sweep: victims first, then every shard left to run, then the transfers."""

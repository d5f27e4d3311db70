"""From a spec to its cells, recipes and tasks."""

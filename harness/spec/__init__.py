"""The spec: the YAML file that describes one sweep, read, checked and resolved."""

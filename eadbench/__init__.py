"""A distributed benchmark of adversarial attacks on image classifiers."""

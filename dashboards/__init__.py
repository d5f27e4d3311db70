"""Pages over the results of sweeps: the explorer, and the report as one HTML file."""

PAGES = ("table", "curves", "transfer", "images", "sweep", "compare")
"""The explorer's pages, as addresses name them."""

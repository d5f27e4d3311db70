"""Pages over the results of sweeps."""

PAGES = ("table", "curves", "transfer", "images", "sweep", "compare")
"""The explorer's, as they stand in an address."""

"""The results folder: its files, a snapshot of their contents, and the progress of a sweep."""

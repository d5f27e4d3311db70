"""The explorer's pages; each shows one `Source`, or several."""

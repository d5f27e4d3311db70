"""The explorer's pages. Each shows one `Source`, or compares several."""

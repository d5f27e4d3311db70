"""What the attacks share: the search over c, the search over ε, gradient precision, batch size, and input checks."""

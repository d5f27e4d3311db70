"""What the attacks share: the search over c, the batch that stays full, the search for ε, precision and checks."""

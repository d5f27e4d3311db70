"""Reports of a sweep: tables, figures, galleries."""

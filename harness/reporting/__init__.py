"""Write a sweep's results for people: tables, figures, galleries."""

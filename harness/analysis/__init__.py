"""Figures from rows: the cases of the paper, intervals, transfer, paired comparison, one example."""

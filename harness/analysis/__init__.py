"""From rows to figures: the cases of the paper, intervals, transfer, paired comparison, one example."""

"""What the verdict costs: the paired interval of a ROC AUC, beside the ways to get one without it."""

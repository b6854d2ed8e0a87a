"""What any training needs: the optimizer, data sets, checkpoints, logs, guards."""

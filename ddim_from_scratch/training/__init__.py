"""What any training needs: the optimizer, checkpoints, logs, guards."""

"""Shared by all trainings: the optimizer, data sets, checkpoints, logs, guards."""

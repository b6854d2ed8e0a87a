"""Experiments on trained runs and on inverters: python -m ddim_from_scratch.experiments --help."""

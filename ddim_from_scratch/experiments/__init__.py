"""Experiments on trained runs and on inverters: python -m ddim_from_scratch.experiments --help."""

import logging

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it caches its fonts is no news, from its import on

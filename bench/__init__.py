"""Side-by-side timings of this package and the libraries that people would otherwise use.

Each program prints a table of medians and ratios; times on a busy machine mean little, ratios more.
"""

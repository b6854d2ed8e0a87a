"""Denoisers, written on a namespace of layers: what a system draws with."""

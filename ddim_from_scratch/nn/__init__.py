"""The network's layers. Each is a pair: `y, cache = layer(...)` and, below it, `layer_backward(dy, cache)`.

embedding . loss . init, and in fast/ the layers that have to be fast
gradcheck, the proof of all
"""

"""The network's layers. Each is a pair: `y, cache = layer(...)` and, below it, `layer_backward(dy, cache)`.

conv . norm . activation . attention . separable (attention, faster) . embedding . resize . loss . init (weights) . gradcheck (proof of all)
"""

"""The network's layers. Each is a pair: `y, cache = layer(...)` and, below it, `layer_backward(dy, cache)`.

conv . winograd . columns . rows . norm . activation . attention . separable . embedding . resize . loss . init
gradcheck, the proof of all
"""

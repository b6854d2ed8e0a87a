"""The layers made fast: Winograd, tiles, threads and pooled memory on a processor, large kernels on a GPU.

conv . winograd . columns . rows . norm . activation . attention . separable . resize
"""

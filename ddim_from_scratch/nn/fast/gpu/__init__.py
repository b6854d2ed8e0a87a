# ruff: noqa: F401 (the textbook's list of names says what is for others)
"""The textbook's layers made fast on a GPU: CuPy arrays, the same names, arguments and results.

Few, large kernels, in CUDA C++ beside these files: convolution on tensor cores, which does a block's normalisation,
swish and sums on its way (conv, block), normalisation over all samples at once (norm), attention that stores no
scores (attend), and four channels at a time in the others (vector.cu).
"""

import sys
from functools import partial

from .... import nn
from .attend import attention, attention_backward
from .block import residual_block, residual_block_backward
from .conv import conv2d, conv2d_backward
from .dense import geglu, geglu_backward, linear, linear_backward, rms_norm, rms_norm_backward
from .norm import batch_norm, batch_norm_backward, group_norm, group_norm_backward
from .resize import (
    average_pool,
    average_pool_backward,
    concatenate,
    split,
    upsample,
    upsample_backward,
)

multi_head_attention = partial(nn.multi_head_attention, layers=sys.modules[__name__])

for name in nn.__all__:
    globals().setdefault(name, getattr(nn, name))  # the textbook's, where none is faster

__all__ = nn.__all__

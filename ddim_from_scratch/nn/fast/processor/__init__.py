# ruff: noqa: F401 (the textbook's list of names says what is for others)
"""The textbook's layers made fast on a processor: NumPy arrays only, the same names, arguments and results.

Winograd's convolution (winograd, taps), tiles that stay in a core's cache, Python threads over them, pooled memory
(runtime/backend), attention by Chebyshev nodes (nodes, attend), and a residual block whose normalisation and
swish are done while its convolutions copy their tiles (block).
"""

import sys
from functools import partial

from .... import nn
from .block import residual_block, residual_block_backward
from .dense import (
    geglu,
    geglu_backward,
    layer_norm,
    layer_norm_backward,
    linear,
    linear_backward,
    rms_norm,
    rms_norm_backward,
    swish,
    swish_backward,
)
from .depthwise import depthwise_conv, depthwise_conv_backward
from .embedding import embed_backward
from .nodes import attention, attention_backward
from .norm import batch_norm, batch_norm_backward, batch_norm_inference, group_norm, group_norm_backward
from .resize import (
    add,
    average_pool,
    average_pool_backward,
    concatenate,
    max_pool,
    split,
    upsample,
    upsample_backward,
)
from .winograd import conv2d, conv2d_backward

multi_head_attention = partial(nn.multi_head_attention, layers=sys.modules[__name__])

for name in nn.__all__:
    globals().setdefault(name, getattr(nn, name))  # the textbook's, where none is faster

__all__ = nn.__all__

"""The textbook: every layer of the networks, in the fewest lines that state its mathematics.

A layer is a pair of functions, the backward pass below the forward pass:

    y, cache = layer(x, **params)            dx, grads = layer_backward(dy, cache)

dy is the gradient of the loss by y, an array of y's shape. grads is a dict with the names of params; a layer without
parameters returns dx alone, and one that needs to remember nothing has no cache. Only the layer itself reads its cache.

Arrays are N, H, W, C: sample, height (time), width (mel bin), channel; a sequence is N, L, C: sample, position,
channel. They are of NumPy or CuPy; of any float dtype, which results keep. Nothing here is made to be fast. nn/fast/
has the same names, arguments and results for that: a network takes one of these namespaces as its argument `layers`.
"""

from .attend import attention, attention_backward, multi_head_attention, multi_head_attention_backward
from .block import residual_block, residual_block_backward
from .conv import conv2d, conv2d_backward, depthwise_conv, depthwise_conv_backward
from .dense import (
    film,
    film_backward,
    geglu,
    geglu_backward,
    gelu,
    gelu_backward,
    linear,
    linear_backward,
    swish,
    swish_backward,
)
from .embedding import embed, embed_backward
from .norm import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)
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

__all__ = [
    "add",
    "attention",
    "attention_backward",
    "average_pool",
    "average_pool_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "concatenate",
    "conv2d",
    "conv2d_backward",
    "depthwise_conv",
    "depthwise_conv_backward",
    "embed",
    "embed_backward",
    "film",
    "film_backward",
    "geglu",
    "geglu_backward",
    "gelu",
    "gelu_backward",
    "group_norm",
    "group_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "max_pool",
    "multi_head_attention",
    "multi_head_attention_backward",
    "residual_block",
    "residual_block_backward",
    "rms_norm",
    "rms_norm_backward",
    "split",
    "swish",
    "swish_backward",
    "upsample",
    "upsample_backward",
]

"""Exercises of lesson 07: the residual block, and the way back through the whole network.

Write the four functions, in this order; the later ones may call the earlier ones. `make check-07` puts each in the
package's place, on its own, shows what it answers beside what is expected, and runs the package's tests on it.
The layers of lessons 05 and 06 are there to be used. Leave the names and the arguments as they are.

A tree is a dict of dicts of arrays: params["down0"]["block1"]["conv2"]["w"]. Gradients have the same shape of tree.
"""

import numpy as np

from ddim_from_scratch.nn.embedding import DIMENSIONS  # noqa: F401
from ddim_from_scratch.nn.fast.activation import swish, swish_backward  # noqa: F401
from ddim_from_scratch.nn.fast.attention import multi_head_attention_backward  # noqa: F401
from ddim_from_scratch.nn.fast.norm import batch_norm, batch_norm_backward, batch_norm_inference  # noqa: F401
from ddim_from_scratch.nn.fast.resize import average_pool_backward, upsample_bilinear_backward  # noqa: F401
from ddim_from_scratch.nn.fast.winograd import conv2d, conv2d_backward  # noqa: F401


def split_channels(dy: np.ndarray, *widths: int) -> list[np.ndarray]:
    """The backward pass of a concatenation along the channels.

    dy: (N, H, W, C). widths: channels of each part but the last, which gets the rest.
    Returns a list of (N, H, W, width).

        dy         | a a | b | c c c |
        split_channels(dy, 2, 1)  ->  [a a], [b], [c c c]
    """
    raise NotImplementedError


def residual_block(params: dict, statistics: dict, x: np.ndarray, training: bool) -> tuple[np.ndarray, list, dict]:
    """shortcut(x) + conv2(swish(conv1(norm(x)))).

    params: {"conv1": {"w", "b"}, "conv2": {"w", "b"}}, and "shortcut": {"w", "b"}, a 1x1 convolution, where the width
    changes; without it, shortcut(x) is x. `conv2d(x, **params["conv1"])` returns an array and a cache.
    x: (N, H, W, C).
    training: normalise with `batch_norm(x)`, which returns an array, a cache and the batch's statistics; otherwise with
    `batch_norm_inference(x, statistics)`, which returns an array.
    Returns y, (N, H, W, D); a list of caches; and the batch's statistics, or `statistics` as they came unless training.
    The list: [shortcut's, norm's, conv1's, swish's, conv2's], as the layers return them. The shortcut's is None where
    there is none, and norm's unless training.

        x --+-- norm -- conv1 -- swish -- conv2 --(+)-- y
            `-------------- shortcut --------------'
    """
    raise NotImplementedError


def residual_block_backward(dy: np.ndarray, cache: list) -> tuple[np.ndarray, dict]:
    """dx, and the gradients of the parameters in a tree like theirs.

    dy: (N, H, W, D). cache: the list of caches that `residual_block` returns.
    `conv2d_backward(dy, cache)` returns dx, dw, db. Leave dy as it is: `a + b`, not `a += b`, where a is dy.

        dx -(+)-- norm -- conv1 -- swish -- conv2 --+-- dy        x is used twice, so two gradients are added
             `-------------- shortcut --------------'
    """
    raise NotImplementedError


def unet_backward(d_eps: np.ndarray, params: dict, caches: list) -> tuple[np.ndarray, dict]:
    """dx and the gradients of all parameters, in a tree like theirs.

    d_eps: (N, time, mel, 1). caches: a list that the forward pass has filled, one for each layer with parameters or
    statistics; pop() them. Forward, in this order:

        input            conv2d                                  (then the embedding's DIMENSIONS channels are appended)
        down0, down1 ... for each of block0, block1 ...: residual_block; its output is pushed as a skip
                         average pool
        bottom           for each block: residual_block
        ... up1, up0     upsample
                         for each block: pop a skip; with h (C channels), what comes from below,
                             concatenate h, skip                 where the block has no "attention";
                             concatenate h, skip, attended       where it has: attended, also of C channels, is the
                                                                 multi_head_attention of query h and memory skip
                             residual_block
        output           conv2d

    So each up block with attention leaves two caches, attention's first. The skip of level l has as many channels as
    params[f"down{l}"]["block0"]["conv2"]["b"]. `multi_head_attention_backward(d, cache)` returns the gradients of the
    query, of the memory and of its parameters, the last a tree. Names that begin with "down" are as many as levels.

        forward   skips: push, push, push, push ... pop, pop, pop, pop
        backward  their gradients:                  push, push, push, push ... pop, pop, pop, pop
    """
    raise NotImplementedError

"""Exercises of lesson 07: the residual block, and the way back through the whole network.

Write the four functions, in this order; the later ones may call the earlier ones. `make check-07` puts each in the
package's place, on its own, shows what it answers beside what is expected, and runs the package's tests on it.
The layers of lessons 05 and 06 are there to be used. Leave the names and the arguments as they are.

A tree is a dict of dicts of arrays: params["down0"]["block1"]["conv2"]["w"]. Gradients have the same shape of tree.
"""

from types import ModuleType

import numpy as np

from ddim_from_scratch.nn.conv import conv2d, conv2d_backward  # noqa: F401
from ddim_from_scratch.nn.dense import swish, swish_backward  # noqa: F401
from ddim_from_scratch.nn.embedding import DIMENSIONS  # noqa: F401
from ddim_from_scratch.nn.norm import norm, normalise_backward  # noqa: F401


def split(dy: np.ndarray, widths: list[int]) -> list[np.ndarray]:
    """The backward pass of a concatenation along the channels.

    dy: (N, H, W, C). widths: channels of each part, C together. Returns a list of (N, H, W, width).

        dy         | a a | b | c c c |
        split(dy, [2, 1, 3])  ->  [a a], [b], [c c c]
    """
    raise NotImplementedError


def residual_block(x: np.ndarray, params: dict, statistics: dict | None, training: bool) -> tuple[np.ndarray, dict]:
    """shortcut(x) + conv2(swish(conv1(norm(x)))).

    x: (N, H, W, C).
    params: {"conv1": {"w", "b"}, "conv2": {"w", "b"}}, and "shortcut": {"w", "b"}, a 1x1 convolution, where the width
    changes; without it, shortcut(x) is x.
    `conv2d(x, **params["conv1"])`, `norm(x, statistics, training)` and `swish(x)` return an array and a cache.
    Returns y, (N, H, W, D), and a dict of caches: "norm", "conv1", "swish", "conv2", and "shortcut" where there is one.

        x --+-- norm -- conv1 -- swish -- conv2 --(+)-- y
            `-------------- shortcut --------------'
    """
    raise NotImplementedError


def residual_block_backward(dy: np.ndarray, cache: dict) -> tuple[np.ndarray, dict]:
    """dx, and the gradients of the parameters in a tree like theirs.

    dy: (N, H, W, D). cache: the dict of caches that `residual_block` returns.
    `conv2d_backward(dy, cache)` returns dx and {"w", "b"}; `normalise_backward(dy, cache)` is norm's backward pass.
    Leave dy as it is: `a + b`, not `a += b`, where a is dy.

        dx -(+)-- norm -- conv1 -- swish -- conv2 --+-- dy        x is used twice, so two gradients are added
             `-------------- shortcut --------------'
    """
    raise NotImplementedError


def unet_backward(d_output: np.ndarray, cache: dict, layers: ModuleType) -> tuple[np.ndarray, dict]:
    """dx and the gradients of all parameters, in a tree like theirs.

    d_output: (N, time, mel, 1). layers: has all layers, as in `layers.conv2d_backward(dy, cache)`.
    cache: a dict of what the forward pass has kept, under the parameters' names. Forward, in this order:

        "input"                  conv2d                          (then the embedding's DIMENSIONS channels are appended)
        "down0", "down1" ...     for each of "block0", "block1" ...: residual_block; its output is pushed as a skip
                                 average_pool
        "bottom"                 for each block: residual_block
        ... "up1", "up0"         upsample
                                 for each block: pop a skip; with h, what comes from below,
                                     concatenate h, skip                 where the block has no attention;
                                     concatenate h, skip, attended       where it has: attended is the
                                                                         multi_head_attention of query h and memory skip
                                     residual_block
        "output"                 conv2d

    cache["down0"]["block1"] is a residual block's cache: give it to `layers.residual_block_backward`. In "up0", "up1"
    ... a block's cache has one entry more, "join", a dict: "widths", the channels of the parts that were concatenated,
    and, with attention, "attention", its cache. `layers.multi_head_attention_backward(d, cache)` returns the gradients
    of the query, of the memory and of its parameters, the last a tree; the block's tree has it as "attention".
    `layers.split(dy, widths)`, `layers.average_pool_backward(dy)` and `layers.upsample_backward(dy)` need no cache.

        forward   skips: push, push, push, push ... pop, pop, pop, pop
        backward  their gradients:                  push, push, push, push ... pop, pop, pop, pop
    """
    raise NotImplementedError


EXPERIMENT = """
| bridges | mean loss of the last 20 steps |
|---|---|
| none | ? |
| of the plane of 32 frames | ? |
| of the plane of 64 frames | ? |
| all | ? |

Which level is worth more, and why? ?
"""

"""What the exercises of lesson 07 are held to, and the mistakes that are known."""

import numpy as np

from ddim_from_scratch import nn
from ddim_from_scratch.networks.unet import init_unet, unet
from ddim_from_scratch.nn import batch_norm, batch_norm_inference, conv2d, conv2d_backward, swish, swish_backward
from ddim_from_scratch.nn.embedding import DIMENSIONS
from ddim_from_scratch.nn.norm import normalise_backward
from ddim_from_scratch.runtime import tree
from lessons.tool.check import Exercise

LAYERS, UNET = "tests/nn/test_layers.py::", "tests/networks/test_unet.py::"
RNG = np.random.default_rng(7)
CHANNELS = np.arange(12.0).reshape(1, 1, 2, 6)


def noise(*shape):
    return RNG.standard_normal(shape)


def checks(*names):
    """The package's tests of layers and networks."""
    return tuple(f"{LAYERS}test_gradients_match_finite_differences[plain-{name}]" for name in names)


# The residual block.


def convolution(k, inputs, outputs):
    return {"w": noise(k, k, inputs, outputs) / k, "b": noise(outputs)}


SAME = {"conv1": convolution(3, 2, 2), "conv2": convolution(3, 2, 2)}
WIDER = {
    "conv1": convolution(3, 2, 3),
    "conv2": convolution(3, 3, 3),
    "shortcut": convolution(1, 2, 3),
}
STATISTICS = {"mean": np.array([1.0, -1]), "variance": np.array([4.0, 0.5])}
X = noise(2, 3, 2, 2) + 1


def wrong_block(
    x,
    params,
    statistics,
    training,
    order="norm conv1 swish conv2",
    shortcut="x",
    after=(),
    moving=False,
):
    """A residual block with its layers in another order, or another shortcut."""
    layers = {
        "norm": lambda h: batch_norm(h)[0] if training or moving else batch_norm_inference(h, statistics),
        "conv1": lambda h: conv2d(h, **params["conv1"])[0],
        "conv2": lambda h: conv2d(h, **params["conv2"])[0],
        "swish": lambda h: swish(h)[0],
    }
    h = x
    for name in order.split():
        h = layers[name](h)
    around = layers["norm"](x) if shortcut == "norm" else x
    if "shortcut" in params and shortcut != "raw":
        around = conv2d(around, **params["shortcut"])[0]
    h = h if shortcut == "none" else h + around
    for name in after:
        h = layers[name](h)
    return h, nn.residual_block(x, params, statistics, training)[1]


def block_mistake(**options):
    return lambda *arguments: wrong_block(*arguments, **options)


def wrong_block_backward(dy, cache, shortcut=True, through=True, skip=()):
    """The block's backward pass with a layer left out."""
    grads = {}
    dh, grads["conv2"] = conv2d_backward(dy, cache["conv2"])
    dh = dh if "swish" in skip else swish_backward(dh, cache["swish"])
    dh, grads["conv1"] = conv2d_backward(dh, cache["conv1"])
    dh = dh if "norm" in skip else normalise_backward(dh, cache["norm"])
    if "shortcut" not in cache:
        return dh + dy * shortcut, grads
    dx, grads["shortcut"] = conv2d_backward(dy, cache["shortcut"])
    return dh + dx * through, grads


def changed(dy, cache, change):
    """The right answer with something exchanged."""
    return change(*nn.residual_block_backward(dy, cache))


SAME_DY, WIDER_DY = noise(2, 3, 2, 2), noise(2, 3, 2, 3)
SAME_CACHE, WIDER_CACHE = (nn.residual_block(X, params, {}, True)[1] for params in (SAME, WIDER))


# The network.


def wrong_unet_backward(
    d_output, cache, layers, skips=True, queue=False, query=True, memory=True, fresh=False, pool=1, up=1, first=0
):
    """The way back with something lost: gradients over the bridges, of attention's query or of its memory."""
    levels = sum(name.startswith("down") for name in cache)
    grads = {name: {} for name in cache}
    d_skips = []
    dh, grads["output"] = layers.conv2d_backward(d_output, cache["output"])
    for name in [f"up{level}" for level in range(levels)]:
        for block in reversed(cache[name]):
            kept = cache[name][block]
            dh, grads[name][block] = layers.residual_block_backward(dh, kept)
            dh, d_skip, *d_attended = layers.split(dh, kept["join"]["widths"])
            if d_attended:
                d_query, d_memory, grads[name][block]["attention"] = layers.multi_head_attention_backward(
                    *d_attended, kept["join"]["attention"]
                )
                dh, d_skip = dh + d_query * query, d_skip + d_memory * memory
            d_skips.append(d_skip)
        dh = layers.upsample_backward(dh) * up
    for block in reversed(cache["bottom"]):
        dh, grads["bottom"][block] = layers.residual_block_backward(dh, cache["bottom"][block])
    for name in [f"down{level}" for level in reversed(range(levels))]:
        dh = layers.average_pool_backward(dh) * pool
        for block in reversed(cache[name]):
            across = d_skips.pop(0 if queue else -1)
            dh, grads[name][block] = layers.residual_block_backward(
                across if fresh else dh + across * skips, cache[name][block]
            )
    channels = dh.shape[3] - DIMENSIONS
    dx, grads["input"] = layers.conv2d_backward(dh[..., first:][..., :channels], cache["input"])
    return dx, grads


def network(attention):
    """A network of one level and two blocks, its gradient to come, and its planes."""
    params, statistics = init_unet(np.random.default_rng(0), (2, 3), 2, attention)
    params = tree.map(lambda leaf: leaf + 0.3 * noise(*leaf.shape), params)
    return params, statistics, noise(1, 4, 2, 1), noise(1, 4, 2, 1)


NETWORKS = {attention: network(attention) for attention in ("none", "all")}


def answers(backward, attention, *names):
    """dx of the network, or, where names are given, those gradients in a row."""
    params, statistics, x, d_eps = NETWORKS[attention]
    _, cache = unet(params, statistics, x, np.array([0.4]), nn, training=True)
    dx, grads = backward(d_eps, cache, nn)
    if not names:
        return dx
    flat = tree.flatten(grads)
    return np.concatenate([flat[name].ravel() for name in names])


def all_names(attention):
    return sorted(tree.flatten(NETWORKS[attention][0]))


def unet_mistake(**options):
    return lambda *arguments: wrong_unet_backward(*arguments, **options)


EXERCISES = [
    Exercise(
        "ddim_from_scratch.nn.resize.split",
        tests=checks("concatenate", "unet, attention none", "unet, attention all"),
        examples={
            "channels of each part of split(dy (1, 1, 2, 6), [2, 1, 3])": (
                lambda split: np.array([part.shape[3] for part in split(CHANNELS, [2, 1, 3])])
            ),
            "the first part": lambda split: split(CHANNELS, [2, 1, 3])[0],
            "the second part": lambda split: split(CHANNELS, [2, 1, 3])[1],
            "the last part": lambda split: split(CHANNELS, [2, 1, 3])[-1],
        },
        mistakes={
            "the last part is missing: each width has a part": lambda dy, widths: nn.split(dy, widths)[:-1],
            "the widths are taken for places: each part begins where the one before ends": (
                lambda dy, widths: np.split(dy, widths[:-1], axis=3)
            ),
            "the parts begin at channel 0, all of them": lambda dy, widths: [dy[..., :width] for width in widths],
            "the samples are cut: cut the channels, the last axis": lambda dy, widths: np.split(
                dy, np.minimum(np.cumsum(widths)[:-1], len(dy)), axis=0
            ),
            "the parts have equal widths: part i has widths[i] channels": (
                lambda dy, widths: np.split(dy, len(widths), axis=3)
            ),
            "the first part is missing: begin at channel 0": lambda dy, widths: nn.split(dy, widths)[1:],
            "the parts are in reverse order": lambda dy, widths: nn.split(dy, widths)[::-1],
        },
    ),
    Exercise(
        "ddim_from_scratch.nn.block.residual_block",
        tests=(
            *checks("residual_block", "residual_block, new width", "unet, attention none"),
            f"{LAYERS}test_precision_and_arguments_are_kept[plain-residual_block, new width]",
            UNET + "test_samples_do_not_see_each_other_at_inference[plain]",
        ),
        examples={
            "y of residual_block(x (2, 3, 2, 2), params, {}, training=True)": lambda f: f(X, SAME, {}, True)[0],
            "y where the width changes from 2 to 3": lambda f: f(X, WIDER, {}, True)[0],
            "y with training=False": lambda f: f(X, SAME, STATISTICS, False)[0],
            "y with group normalisation, statistics=None": lambda f: f(X, SAME, None, True)[0],
            "the number of caches": lambda f: len(f(X, SAME, {}, True)[1]),
            "whether the caches are a dict (1) or not (0)": lambda f: int(isinstance(f(X, SAME, {}, True)[1], dict)),
        },
        mistakes={
            "x is not added: a block returns x and a correction": block_mistake(shortcut="none"),
            "the normalisation is missing": block_mistake(order="conv1 swish conv2"),
            "the normalisation comes after conv1: here it comes first": block_mistake(order="conv1 norm swish conv2"),
            "the swish is missing": block_mistake(order="norm conv1 conv2"),
            "swish comes before conv1: it stands between the two": block_mistake(order="norm swish conv1 conv2"),
            "there is a second swish after conv2": block_mistake(order="norm conv1 swish conv2 swish"),
            "there is a swish after the sum: nothing follows it": block_mistake(after=("swish",)),
            "the shortcut starts behind the normalisation: it carries x itself": block_mistake(shortcut="norm"),
            "with training=False the batch's statistics are used: take those given": block_mistake(moving=True),
            "a layer's cache is missing: keep one for norm, conv1, swish and conv2, under those names": (
                lambda x, params, statistics, training: (
                    nn.residual_block(x, params, statistics, training)[0],
                    dict(list(nn.residual_block(x, params, statistics, training)[1].items())[1:]),
                )
            ),
            "the caches are in a list: a dict keeps each under its layer's name": (
                lambda x, params, statistics, training: (
                    nn.residual_block(x, params, statistics, training)[0],
                    list(nn.residual_block(x, params, statistics, training)[1].values()),
                )
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.nn.block.residual_block_backward",
        tests=(
            *checks("residual_block", "residual_block, new width", "unet, attention lowest"),
            f"{LAYERS}test_precision_and_arguments_are_kept[plain-residual_block]",
        ),
        examples={
            "dx of residual_block_backward(dy (2, 3, 2, 2), cache)": lambda f: f(SAME_DY, SAME_CACHE)[0],
            "the gradient of conv2/w": lambda f: f(SAME_DY, SAME_CACHE)[1]["conv2"]["w"],
            "the gradient of conv1/b": lambda f: f(SAME_DY, SAME_CACHE)[1]["conv1"]["b"],
            "dx where the width changes": lambda f: f(WIDER_DY, WIDER_CACHE)[0],
            "the gradient of shortcut/w": lambda f: f(WIDER_DY, WIDER_CACHE)[1]["shortcut"]["w"],
        },
        mistakes={
            "dy itself is missing: x is used twice, so two gradients are added": (
                lambda dy, cache: wrong_block_backward(dy, cache, shortcut=False)
            ),
            "the swish is left out": lambda dy, cache: wrong_block_backward(dy, cache, skip=("swish",)),
            "the normalisation is left out": lambda dy, cache: wrong_block_backward(dy, cache, skip=("norm",)),
            "the gradient through the shortcut's convolution is missing in dx": (
                lambda dy, cache: wrong_block_backward(dy, cache, through=False)
            ),
            "dy is added twice: once, for x itself": (
                lambda dy, cache: changed(dy, cache, lambda dx, grads: (dx + dy * (dx.shape == dy.shape), grads))
            ),
            "the gradients of conv1 and conv2 are exchanged": (
                lambda dy, cache: changed(
                    dy, cache, lambda dx, grads: (dx, grads | {"conv1": grads["conv2"], "conv2": grads["conv1"]})
                )
            ),
            "conv1's gradient is computed from dy: from what the swish hands back": (
                lambda dy, cache: changed(
                    dy, cache, lambda dx, grads: (dx, grads | {"conv1": conv2d_backward(dy, cache["conv1"])[1]})
                )
            ),
            "the shortcut's gradient is zero: dy goes both ways": (
                lambda dy, cache: changed(
                    dy, cache, lambda dx, grads: (dx, grads | {"shortcut": {"w": 0 * grads["shortcut"]["w"]}})
                )
            ),
        },
    ),
    Exercise(
        "ddim_from_scratch.networks.unet.unet_backward",
        tests=checks(
            "unet, attention none",
            "unet, attention lowest",
            "unet, attention all",
            "unet, two residual blocks a block",
        ),
        examples={
            "the gradient of output/w": lambda f: answers(f, "none", "output/w"),
            "the gradient of up0/block1/conv1/b": lambda f: answers(f, "none", "up0/block1/conv1/b"),
            "the gradient of bottom/block0/conv1/b": lambda f: answers(f, "none", "bottom/block0/conv1/b"),
            "the gradient of down0/block1/conv2/b": lambda f: answers(f, "none", "down0/block1/conv2/b"),
            "the gradient of down0/block0/conv2/b": lambda f: answers(f, "none", "down0/block0/conv2/b"),
            "the gradient of input/w": lambda f: answers(f, "none", "input/w"),
            "dx": lambda f: answers(f, "none"),
            "the gradient of bottom/block1/conv2/b, with attention": (
                lambda f: answers(f, "all", "bottom/block1/conv2/b")
            ),
            "the gradient of down0/block0/conv2/b, with attention": (
                lambda f: answers(f, "all", "down0/block0/conv2/b")
            ),
            "all gradients, with attention": lambda f: answers(f, "all", *all_names("all")),
            "dx, with attention": lambda f: answers(f, "all"),
        },
        mistakes={
            "nothing comes over the bridges: add each skip's gradient where the skip was pushed": (
                unet_mistake(skips=False)
            ),
            "what comes over the bridge takes the place of what comes from below: add the two": unet_mistake(
                fresh=True
            ),
            "the bridges are mixed up: the first gradient pushed is the last to be popped": unet_mistake(queue=True),
            "the gradient of attention's query is lost: h goes into the block and into the query": (
                unet_mistake(query=False)
            ),
            "the gradient of attention's memory is lost: the skip goes into the block and into keys and values": (
                unet_mistake(memory=False)
            ),
            "the way back through the pooling is 4 times too large: each of the four pixels has a quarter": (
                unet_mistake(pool=4)
            ),
            "the way back through the upsampling is 4 times too small: gradients add up": unet_mistake(up=0.25),
            "the gradient of the embedding goes into the input layer: the embedding's channels are the last": (
                unet_mistake(first=-2)
            ),
        },
        tolerance=1e-5,  # the key's bias has gradient 0, and rounding
    ),
]

import sys
sys.path.insert(0, ".dev")
import cupy as cp
import numpy as np
import dev_unet
from ddim_from_scratch.runtime import tree
from ddim_from_scratch.diffusion.schedule import continuous_cosine_alpha_bar
from ddim_from_scratch.nn.embedding import sinusoidal_embedding
from ddim_from_scratch.nn.fast import gpu

noisy = cp.ElementwiseKernel("T x, T eps, T a, T b", "T y", "y = a * x + b * eps", "noisy")
d_loss = cp.ElementwiseKernel("T out, T eps, T k", "T d", "d = k * (out - eps)", "d_loss")
square_sum = cp.ReductionKernel("T a", "float64 y", "(double)a * a", "a + b", "y = a", "0", "square_sum")
recon = cp.ElementwiseKernel("T x_t, T eps_pred, T x0, T a, T b", "T y", "y = (x_t - b * eps_pred) / a - x0", "recon")
adamw_ = cp.ElementwiseKernel("T g, float64 squares, float32 limit, float32 rate, float32 decay, float32 ema", "T p, T m, T v, T average",
    """double norm = sqrt(squares); float s = isfinite(norm) ? (limit > 0 && norm > limit ? limit / norm : 1) : 0;
    float h = g * s; if (s > 0) { m = 0.9f * m + 0.1f * h; v = 0.999f * v + 0.001f * h * h;
    p = p * decay - rate * m / (sqrt(v) + 1e-7f); } average = ema * average + (1 - ema) * p;""", "adamw")


def flat_copy(t):
    leaves = tree.flatten(t)
    sizes = [a.size for a in leaves.values()]
    starts = np.cumsum([0, *[-(-s // 4) * 4 for s in sizes]])
    flat = cp.zeros(int(starts[-1]), np.float32)
    views = {}
    for (name, a), start, size in zip(leaves.items(), starts, sizes):
        v = flat[int(start):int(start) + size].reshape(a.shape)
        v[...] = cp.asarray(a)
        views[name] = v
    return flat, views


def rename(params):  # nested {"down0": {"block0": ...}} to {"down0/0": ...}
    out = {}
    for part, value in params.items():
        if part in ("input", "output"):
            out[part] = value
        else:
            for block, p in value.items():
                out[f"{part}/{block[5:]}"] = p
    return out


def network(config, seed=0):
    from ddim_from_scratch.spectrogram.unet import init_unet
    params, _ = init_unet(np.random.default_rng(seed), config.widths, config.block_depth, config.attention, 1, "group")
    params = rename(params)
    flat_names = {}
    for name, p in params.items():
        for k, leaf in tree.flatten(p).items():
            flat_names[f"{name}|{k}"] = leaf
    return params, flat_names


def nest(views):
    out = {}
    for name, v in views.items():
        block, path = name.split("|")
        node = out.setdefault(block, {})
        *parents, leaf = path.split("/")
        for q in parents:
            node = node.setdefault(q, {})
        node[leaf] = v
    return out


def gather(grads, names, flat):
    parts = []
    for name in names:
        block, path = name.split("|")
        g = grads[block]
        for q in path.split("/"):
            g = g[q]
        parts.append(g.ravel())
        pad = -g.size % 4
        if pad:
            parts.append(cp.zeros(pad, np.float32))
    return cp.concatenate(parts, out=flat)


class Recorded:
    """A function of device arrays, run once as it is, then recorded as a CUDA graph and replayed."""

    def __init__(self, function):
        self.function, self.graph, self.calls = function, None, 0
        self.pool, self.stream = cp.cuda.MemoryPool(), cp.cuda.Stream(non_blocking=True)

    def __call__(self, *arrays):
        current = cp.cuda.get_current_stream()
        if self.graph is None:
            self.inputs = [a.copy() for a in arrays]
            cp.cuda.Device().synchronize()
            with cp.cuda.using_allocator(self.pool.malloc), self.stream:
                first = self.function(*self.inputs)  # compiles, and takes the memory
                self.stream.synchronize()
                self.stream.begin_capture(cp.cuda.runtime.streamCaptureModeRelaxed)
                self.result = self.function(*self.inputs)
                self.graph = self.stream.end_capture()
            return first
        for mine, a in zip(self.inputs, arrays):
            mine[...] = a
        self.graph.launch(current)
        return self.result


USE_GRAPH = True


def prepare(work, config, x, tf32):
    gpu.EXACT = not tf32
    params, leaves = network(config)
    flat, views = flat_copy(leaves)
    params = nest(views)
    m, v, average, grad = (cp.zeros_like(flat) for _ in range(4))
    average[...] = flat
    starts = {name: int((view.data.ptr - flat.data.ptr) // 4) for name, view in views.items()}
    depth, levels = config.block_depth, len(config.widths) - 1
    x0 = cp.asarray(x)
    n = len(x)
    rng, device_rng = np.random.default_rng(0), cp.random.default_rng(0)

    def forward(x, e):
        return dev_unet.unet(params, x, e, gpu, depth, levels)[0]

    def core(x0, eps, numbers):
        a, b = numbers[: 2 * n].reshape(2, -1, 1, 1, 1)
        x_t = noisy(x0, eps, a, b)
        out, cache = dev_unet.unet(params, x_t, numbers[2 * n :].reshape(n, 32), gpu, depth, levels)
        d = d_loss(out, eps, np.float32(2 / out.size))
        result = cp.empty(3)
        square_sum(d, result[0])
        square_sum(recon(x_t, out, x0, a, b), result[1])
        _, grads = dev_unet.unet_backward(d, cache, gpu, depth, levels)
        for name, start in starts.items():
            block, path = name.split("|")
            g = grads[block]
            for q in path.split("/"):
                g = g[q]
            grad[start : start + g.size].reshape(g.shape)[...] = g
        square_sum(grad, result[2])
        adamw_(grad, result[2], np.float32(1.0), np.float32(1e-4), np.float32(1 - 1e-8), np.float32(0.999), flat, m, v, average)
        return result

    wrap = Recorded if USE_GRAPH else lambda f: f
    core_, forward_ = wrap(core), wrap(forward)

    def step():
        gpu.EXACT = not tf32
        ab = continuous_cosine_alpha_bar(rng.random(n), 0.02, 0.95)
        host = np.concatenate([np.sqrt(ab), np.sqrt(1 - ab), sinusoidal_embedding(1 - ab).ravel()]).astype(np.float32)
        eps = device_rng.standard_normal(x0.shape, dtype=np.float32)
        return core_(x0, eps, cp.asarray(host)).get() / x0.size

    def once():
        gpu.EXACT = not tf32
        return forward_(x0, cp.asarray(sinusoidal_embedding(np.full(n, 0.5)).astype(np.float32)))

    return {"train_step": step, "forward": once}[work]

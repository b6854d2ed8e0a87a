"""Mistakes planted into the solutions of the lessons: none passes its check, and four in five are named.

A mistake is an edit of the solution's text, as a student might have written it. The examples of check.py must find it
without the package's tests; the hints are written independently of this list.
"""

import ast

import pytest

from lessons.tool.check import changed_in_place, compare, exercises, on_copies, recognise, same
from lessons.tool.percent import find

PLANTED = {
    "01 hann": [
        ("np.arange(n) / n", "np.arange(n) / (n - 1)"),
        ("0.5 - 0.5", "0.5 + 0.5"),
        ("0.5 - 0.5", "0.54 - 0.46"),
        ("2 * np.pi", "np.pi"),
        ("0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)", "np.sin(np.pi * np.arange(n) / n)"),
        ("np.cos(2", "np.sin(2"),
        ("0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)", "(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)) ** 2"),
    ],
    "01 overlap_add": [
        ("+=", "="),
        ("for m in range(count)", "for m in range(count - 1)"),
        ("m * hop_length : m * hop_length + frame_length", "m * frame_length : m * frame_length + frame_length"),
        ("m * hop_length : m * hop_length + frame_length", ": frame_length"),
        ("(count - 1) * hop_length + frame_length)", "count * hop_length)"),
        ("    return y", "    return y / 2"),
        ("frames[..., m, :]", "frames[..., 0, :]"),
    ],
    "01 stft": [
        (" * window for", " for"),
        ("hann(frame_length)", "np.hanning(frame_length)"),
        (
            "-(-n // hop_length) if pad_end else 1 + (n - frame_length) // hop_length",
            "1 + (n - frame_length) // hop_length",
        ),
        ("n=n_fft)", "n=frame_length)"),
        ("n=n_fft)", "n=n_fft) / n_fft"),
        (
            "return scipy.fft.rfft(np.stack(frames, axis=-2), n=n_fft)",
            "return abs(scipy.fft.rfft(np.stack(frames, axis=-2), n=n_fft))",
        ),
        (
            "return scipy.fft.rfft(np.stack(frames, axis=-2), n=n_fft)",
            "return scipy.fft.rfft(np.stack(frames, axis=-2), n=n_fft).T",
        ),
        ("samples.dtype)\n    padded[", "float)\n    padded["),
    ],
    "01 istft": [
        ("window**2", "window"),
        ("y * window", "y"),
        ("samples = total / np.maximum(weight, max(floor, np.finfo(y.dtype).tiny))", "samples = total"),
        ("max(floor, np.finfo(y.dtype).tiny)", "np.finfo(y.dtype).tiny"),
        ("covered if length is None else length", "covered"),
        ("    return result", "    return result * n_fft"),
        ("n=n_fft)[..., :frame_length]", "n=n_fft)[..., :frame_length] / n_fft"),
    ],
    "02 hz_to_mel": [
        ("np.log", "np.log10"),
        ("1127", "2595"),
        ("1 + hz / 700", "1 + hz / 1000"),
        ("1127 * ", ""),
        ("np.log(", "np.log2("),
        ("1127 * np.log(1 + hz / 700)", "700 * (np.exp(hz / 1127) - 1)"),
        ("np.log(1 + hz", "np.log(hz"),
    ],
    "02 mel_matrix": [
        ("n_mels + 2", "n_mels"),
        ("np.minimum(rising, falling)", "np.maximum(rising, falling)"),
        ("np.maximum(0, np.minimum(rising, falling))", "np.minimum(rising, falling)"),
        ("np.maximum(0, np.minimum(rising, falling))", "np.maximum(0, np.minimum(rising, falling)).T"),
        (
            "np.linspace(hz_to_mel(f_min_hz), hz_to_mel(f_max_hz), n_mels + 2)",
            "hz_to_mel(np.linspace(f_min_hz, f_max_hz, n_mels + 2))",
        ),
        ("hz_to_mel(f_min_hz)", "0"),
        ("hz_to_mel(f_min_hz), hz_to_mel(f_max_hz)", "0, hz_to_mel(sr / 2)"),
    ],
    "02 log_mel": [
        ("np.abs(stft(samples))", "np.abs(stft(samples)) ** 2"),
        ("np.log(", "np.log10("),
        ("np.clip(mel, 1e-5, 1e8)", "mel"),
        ("np.clip(mel, 1e-5, 1e8)", "mel + 1e-5"),
        (".astype(np.float32)", ".astype(np.float64)"),
        ("np.log(np.clip(mel, 1e-5, 1e8))", "20 * np.log10(np.clip(mel, 1e-5, 1e8))"),
        (".astype(np.float32)", ".astype(np.float32).T"),
        ("np.log(np.clip(mel, 1e-5, 1e8))", "np.clip(np.log(mel), 1e-5, 1e8)"),
    ],
    "02 plain_griffin_lim": [
        ("2 * np.pi * np.random.default_rng(rng).random((frames, 513))", "np.zeros((frames, 513))"),
        ("length=frames * 320, floor=0.1))", "length=frames * 320))"),
        ("return istft(spectrum, length=frames * 320, floor=0.1)", "return istft(spectrum, length=frames * 320)"),
        (" ** 1.3", ""),
        ("consistent + momentum * (consistent - previous)", "consistent"),
        ("        magnitude = magnitude * (", "        magnitude = (target @ evenly) + 0 * ("),
        ("np.clip(np.exp(log_mel), 1e-5, 1e8)", "np.log(np.abs(log_mel))"),
    ],
    "03 linear_schedule": [
        ("np.append(1.0, np.cumprod(1 - beta))", "np.cumprod(1 - beta)"),
        ("np.cumprod(1 - beta)", "1 - beta"),
        ("np.cumprod(1 - beta)", "np.cumprod(beta)"),
        ("np.cumprod(1 - beta)", "1 - np.cumsum(beta)"),
        ("np.cumprod(1 - beta)", "np.cumprod(1 - beta) ** 0.5"),
        ("beta_end, T)", "beta_end, T, endpoint=False)"),
        ("np.linspace(beta_start, beta_end, T)", "np.linspace(beta_start**0.5, beta_end**0.5, T) ** 2"),
    ],
    "03 q_sample": [
        ("rates(x0, alpha_bar)", "(column(alpha_bar, x0), 1 - column(alpha_bar, x0))"),
        ("rates(x0, alpha_bar)", "(column(alpha_bar, x0) ** 0.5, 1 - column(alpha_bar, x0))"),
        ("rates(x0, alpha_bar)", "(column(alpha_bar, x0) ** 0.5, 1 - column(alpha_bar, x0) ** 0.5)"),
        ("signal_rate * x0 + noise_rate * eps", "signal_rate * eps + noise_rate * x0"),
        ("rates(x0, alpha_bar)", "rates(x0, np.ravel(alpha_bar)[0])"),
        ("rates(x0, alpha_bar)", "(column(alpha_bar, x0) ** 0.5, (1 - column(alpha_bar, x0)) ** 0.5)"),
    ],
    "03 predict_x0": [
        ("/ signal_rate", "/ noise_rate"),
        (" / signal_rate", ""),
        ("/ signal_rate", "/ signal_rate**2"),
        ("x_t - noise_rate", "x_t + noise_rate"),
        ("noise_rate * eps", "noise_rate**2 * eps"),
        ("(x_t - noise_rate * eps) / signal_rate", "x_t / signal_rate - noise_rate * eps"),
        ("noise_rate * eps", "eps"),
        ("(x_t - noise_rate * eps) / signal_rate", "signal_rate * x_t + noise_rate * eps"),
    ],
    "03 posterior": [
        ("return mean, (1 - ab_s) / (1 - ab_t) * beta", "return mean, beta"),
        ("return mean, (1 - ab_s) / (1 - ab_t) * beta", "return mean, ((1 - ab_s) / (1 - ab_t) * beta) ** 0.5"),
        ("beta = 1 - alpha", "beta = 1 - ab_t"),
        ("ab_s**0.5 * beta", "ab_t**0.5 * beta"),
        ("alpha**0.5", "alpha"),
        ("* x0 + alpha**0.5 * (1 - ab_s) / (1 - ab_t) * x_t", "* x_t + alpha**0.5 * (1 - ab_s) / (1 - ab_t) * x0"),
    ],
    "04 gaussian_eps_model": [
        ("ab**0.5 * mean", "mean"),
        ("(1 - ab) ** 0.5 * (x", "(1 - ab) * (x"),
        ("(ab * variance + 1 - ab)", "(ab * variance + 1 - ab) ** 0.5"),
        ("ab * variance", "variance"),
        ("ab * variance", "ab * variance**2"),
        ("return (1 - ab)", "return -(1 - ab)"),
        ("float(alpha_bar[t])", "alpha_bar[t]"),
    ],
    "04 ddim": [
        ("int(tau[i - 1])", "int(tau[i]) - 1"),
        ("(1 - ab_t / ab_s) ** 0.5", "(1 - ab_t / float(alpha_bar[t - 1])) ** 0.5"),
        ("sigma = eta *", "sigma = eta**0.5 *"),
        ("max(1 - ab_s - sigma**2, 0)", "max(1 - ab_s, 0)"),
        ("max(1 - ab_s - sigma**2, 0)", "max(1 - ab_s - sigma, 0)"),
        ("max(1 - ab_s - sigma**2, 0)", "max(1 - ab_t - sigma**2, 0)"),
        ("ab_s**0.5 * x0 + max", "x0 + max"),
        ("x0 + max(1", "x0 - max(1"),
        ("    x = x_T\n    yield x\n", "    x = x_T\n"),
    ],
    "04 clipped": [
        ("eps_of_x0(x, ab, np.clip(x0, -limit, limit))", "np.clip(x0, -limit, limit)"),
        ("np.clip(x0, -limit, limit)", "np.minimum(x0, limit)"),
        ("np.clip(x0, -limit, limit)", "np.clip(x0, -1, 1)"),
        ("eps_of_x0(x, ab, np.clip(x0, -limit, limit))", "eps_model(x, t)"),
        ("eps_of_x0(x, ab, np.clip(x0, -limit, limit))", "np.clip(eps_model(x, t), -limit, limit)"),
        ("eps_of_x0(x, ab, np.clip(x0, -limit, limit))", "eps_model(np.clip(x, -limit, limit), t)"),
    ],
    "04 heun": [
        ("(eps + eps_model(x_try, s)) / 2", "eps_model(x_try, s)"),
        ("eps_model(x_try, s)", "eps_model(x_try, t)"),
        ("eps = (eps + eps_model(x_try, s)) / 2", "pass"),
        ("x_try = q_sample(predict_x0(x, ab_t, eps), ab_s, eps)", "x_try = x"),
        ("(eps + eps_model(x_try, s)) / 2", "eps + eps_model(x_try, s)"),
        ("    x = x_T\n    yield x\n", "    x = x_T\n"),
    ],
    "05 swish_backward": [
        ("dy * s", "s"),
        ("dy * s * (1 + x * (1 - s))", "dy * s * (1 - s)"),
        ("(1 + x * (1 - s))", "x * (1 - s)"),
        (" * (1 + x * (1 - s))", ""),
        ("1 + x * (1 - s)", "1 + x * (1 + s)"),
        ("x = cache", "x = cache / (1 + np.exp(-cache))"),
    ],
    "05 conv2d_backward": [
        ("my, mx = k - 1 - ky, k - 1 - kx", "my, mx = ky, kx"),
        ("my, mx = k - 1 - ky, k - 1 - kx", "my, mx = k - 1 - ky, kx"),
        ("w[ky, kx].T", "w[kx, ky].T"),
        ("dw[ky, kx] =", "dw[k - 1 - ky, k - 1 - kx] ="),
        ("dy.sum(axis=(0, 1, 2))", "dy.mean(axis=(0, 1, 2))"),
        ("dy.sum(axis=(0, 1, 2))", "dy[-1].sum(axis=(0, 1))"),
    ],
    "05 batch_norm_backward": [
        ("(dy - dy.mean(axis=pixels) - y * (dy * y).mean(axis=pixels))", "dy"),
        ("dy - dy.mean(axis=pixels) - y", "dy - y"),
        (" - y * (dy * y).mean(axis=pixels)", ""),
        (") / sigma", ") * sigma"),
        (") / sigma", ")"),
        ("pixels = (0, 1, 2)", "pixels = (0, 1, 2, 3)"),
        ("pixels = (0, 1, 2)", "pixels = 0"),
        ("    return (dy", "    dy -= dy.mean(axis=pixels)\n    return (dy"),
    ],
    "05 upsample_backward": [
        ("halve_rows(halve_rows(dy).swapaxes(1, 2)).swapaxes(1, 2)", "halve_rows(dy)"),
        ("        dx[:, :1] += 0.25 * even[:, :1]\n", ""),
        ("0.75 * (even + odd)", "(even + odd)"),
        (
            "halve_rows(halve_rows(dy).swapaxes(1, 2)).swapaxes(1, 2)",
            "halve_rows(halve_rows(dy).swapaxes(1, 2)).swapaxes(1, 2) / 4",
        ),
        ("halve_rows(halve_rows(dy).swapaxes(1, 2)).swapaxes(1, 2)", "dy[:, ::2, ::2]"),
        (
            "halve_rows(halve_rows(dy).swapaxes(1, 2)).swapaxes(1, 2)",
            "(dy[:, ::2, ::2] + dy[:, 1::2, ::2] + dy[:, ::2, 1::2] + dy[:, 1::2, 1::2]) / 4",
        ),
        (
            "halve_rows(halve_rows(dy).swapaxes(1, 2)).swapaxes(1, 2)",
            "dy[:, ::2, ::2] + dy[:, 1::2, ::2] + dy[:, ::2, 1::2] + dy[:, 1::2, 1::2]",
        ),
    ],
    "06 sinusoidal_embedding": [
        ("[np.sin(angles), np.cos(angles)]", "[np.cos(angles), np.sin(angles)]"),
        ("2 * np.pi * ", ""),
        ("2 * np.pi", "np.pi"),
        ("(half - 1)", "half"),
        ("1000.0 ** (np.arange(half) / (half - 1))", "np.linspace(1, 1000, half)"),
        (
            "2 * np.pi * np.outer(noise_variance.astype(np.float64), frequencies)",
            "(2 * np.pi * np.outer(noise_variance.astype(np.float64), frequencies)).astype(np.float32)",
        ),
    ],
    "06 attention": [
        ("q = q / q.shape[2] ** 0.5", "q = q / q.shape[2]"),
        ("q = q / q.shape[2] ** 0.5", "q = q * 1"),
        ("(m + np.log(total))[:, 0]", "total[:, 0]"),
        ("larger = np.maximum(m, s.max(axis=1, keepdims=True))", "larger = np.zeros_like(s[:, :1])"),
        ("total = total * factor + p", "total = total + p"),
        ("u = u * factor + p", "u = u + p"),
        ("    return o, (q,", "    return o, (q * q.shape[2] ** 0.5,"),
    ],
    "06 attention_backward": [
        ("p * (dp - (do * o).sum(axis=2, keepdims=True))", "p * (1 - p) * dp"),
        ("p * (dp - (do * o).sum(axis=2, keepdims=True))", "p * (p * dp - (do * o).sum(axis=2, keepdims=True))"),
        ("p * (dp - (do * o).sum(axis=2, keepdims=True))", "p * dp"),
        ("p * (dp - (do * o).sum(axis=2, keepdims=True))", "dp - (do * o).sum(axis=2, keepdims=True)"),
        ("(do * o).sum(axis=2, keepdims=True)", "dp.sum(axis=2, keepdims=True)"),
        ("ds @ k / q.shape[2] ** 0.5", "ds @ k"),
        ("ds.swapaxes(1, 2) @ q", "ds.swapaxes(1, 2) @ q / q.shape[2] ** 0.5"),
        ("p.swapaxes(1, 2) @ do", "p @ do"),
        ("np.exp(q @", "np.exp(q / q.shape[2] ** 0.5 @"),
    ],
    "07 split": [
        ("np.cumsum(widths)[:-1].tolist()", "widths[:-1]"),
        ("np.cumsum(widths)[:-1].tolist()", "len(widths)"),
        (
            "return np.split(dy, np.cumsum(widths)[:-1].tolist(), axis=3)",
            "return np.split(dy, np.cumsum(widths)[:-1].tolist(), axis=3)[:-1]",
        ),
        (
            "return np.split(dy, np.cumsum(widths)[:-1].tolist(), axis=3)",
            "return np.split(dy, np.cumsum(widths)[:-1].tolist(), axis=3)[::-1]",
        ),
        ("return np.split(dy, np.cumsum(widths)[:-1].tolist(), axis=3)", "return [dy[..., :w] for w in widths]"),
        (
            "return np.split(dy, np.cumsum(widths)[:-1].tolist(), axis=3)",
            "return np.split(dy, np.cumsum(widths)[:-1].tolist(), axis=3)[1:]",
        ),
    ],
    "07 residual_block": [
        ("return x + h, cache", "return h, cache"),
        ('    h, cache["norm"] = norm(x, statistics, training)\n', '    h, cache["norm"] = x, None\n'),
        ('    h, cache["swish"] = swish(h)\n', ""),
        ("norm(x, statistics, training)", "norm(x, statistics, True)"),
        ("return x + h, cache", "return swish(x + h)[0], cache"),
        ("return x + h, cache", "return x + swish(h)[0], cache"),
        ("    return shortcut + h, cache", "    return h, cache"),
        ("return x + h, cache", "return x + h, list(cache.values())"),
    ],
    "07 residual_block_backward": [
        ("return dh + dy, grads", "return dh, grads"),
        ("return dh + dy, grads", "dy += dh\n        return dy, grads"),
        ('    dh = swish_backward(dh, cache["swish"])\n', ""),
        ('    dh = normalise_backward(dh, cache["norm"])\n', ""),
        ("return dh + d_shortcut, grads", "return dh, grads"),
        ("return dh + dy, grads", "return dh + 2 * dy, grads"),
        ('conv2d_backward(dh, cache["conv1"])', 'conv2d_backward(dy, cache["conv1"])'),
    ],
    "07 unet_backward": [
        ("dh + d_skips.pop()", "dh"),
        ("dh + d_skips.pop()", "d_skips.pop()"),
        ("d_skips.pop()", "d_skips.pop(0)"),
        ("dh, d_skip = dh + d_query, d_skip + d_memory", "dh, d_skip = dh, d_skip + d_memory"),
        ("dh, d_skip = dh + d_query, d_skip + d_memory", "dh, d_skip = dh + d_query, d_skip"),
        ("layers.average_pool_backward(dh)", "4 * layers.average_pool_backward(dh)"),
        ("dh[..., : dh.shape[3] - DIMENSIONS]", "dh[..., DIMENSIONS:]"),
    ],
}
PLANTED |= {  # lessons 08 to 14
    "08 eps_of_velocity": [
        ("+ noise_rate * x_t", "- noise_rate * x_t"),
        ("signal_rate * v + noise_rate * x_t", "noise_rate * v + signal_rate * x_t"),
        (
            "np.sqrt(alpha_bar).astype(x_t.dtype), np.sqrt(1 - alpha_bar)",
            "alpha_bar.astype(x_t.dtype), (1 - alpha_bar)",
        ),
        ("signal_rate * v + noise_rate * x_t", "signal_rate * x_t - noise_rate * v"),
        ("return signal_rate * v", "return -signal_rate * v"),
        (
            "return signal_rate * v + noise_rate * x_t",
            "return (v + noise_rate * (signal_rate * x_t - noise_rate * v)) / signal_rate",
        ),
    ],
    "08 update_average": [
        ("+= (1 - decay) * current", "+= current"),
        ("average *= decay", "average = average * decay"),
        ("average *= decay", "average *= 1 - decay"),
        ("average *= decay\n    average += (1 - decay)", "average *= 1 - decay\n    average += decay"),
        ("average *= decay\n", "average *= 1\n"),
        ("+= (1 - decay) * current", "+= decay * current"),
    ],
    "08 adamw": [
        ("(np.sqrt(v) + 1e-7)", "np.sqrt(v + 1e-7 * (1 - 0.999**step))"),
        ("1 - learning_rate * weight_decay", "1 - weight_decay"),
        ("params -= learning_rate", "params += learning_rate"),
        ("m *= 0.9\n", "grads = grads + weight_decay * params\n    m *= 0.9\n"),
        ("float(np.sqrt(1 - 0.999**step)) / (1 - 0.9**step) *", ""),
        (" / (1 - 0.9**step)", ""),
        ("float(np.sqrt(1 - 0.999**step)) /", "1 /"),
        ("(np.sqrt(v) + 1e-7)", "(v + 1e-7)"),
        ('m, v = moments["m"], moments["v"]', 'step += 1; m, v = moments["m"], moments["v"]'),
    ],
    "09 uniform_tau": [
        ("np.arange(steps + 1) / steps", "np.arange(steps) / steps"),
        ("np.round(T * np.arange(steps + 1) / steps)", "np.floor(T * np.arange(steps + 1) / steps)"),
        ("np.round(T * np.arange(steps + 1) / steps)", "T // steps * np.arange(steps + 1)"),
        ("np.arange(steps + 1)", "np.arange(1, steps + 1)"),
        (".astype(int)", ".astype(int)[::-1]"),
        ("T * np", "(T - 1) * np"),
    ],
    "09 quadratic_tau": [
        (" ** 2 / steps**2", " / steps"),
        ("steps**2", "steps"),
        ("        tau[i] = max(tau[i], tau[i - 1] + 1)", "        pass"),
        ("T * np.arange(steps + 1) ** 2 / steps**2", "T * (np.arange(steps + 1) / steps) ** 0.5"),
        ("T * np.arange(steps + 1) ** 2 / steps**2", "T * (1 - (1 - np.arange(steps + 1) / steps) ** 2)"),
        ("np.arange(steps + 1)", "np.arange(1, steps + 1)"),
    ],
    "09 ddim_inversion": [
        ("eps_model(guess, t)", "eps_model(guess, s)"),
        ("predict_x0(x, ab_s, eps)", "predict_x0(guess, ab_s, eps)"),
        ("range(evaluations)", "range(1)"),
        ("    yield x\n    for", "    for"),
        ("q_sample(predict_x0(x, ab_s, eps), ab_t, eps)", "q_sample(predict_x0(x, ab_t, eps), ab_s, eps)"),
        ("        x = guess\n        yield x", "        x = guess\n    yield x"),
    ],
    "10 log_mel_error": [
        ("np.abs(heard - log_mels)", "heard - log_mels"),
        ("np.mean(np.abs(heard - log_mels))", "abs(np.mean(heard - log_mels))"),
        ("np.abs(heard - log_mels)", "(heard - log_mels) ** 2"),
        ("np.mean(np.abs(heard - log_mels))", "np.mean((heard - log_mels) ** 2) ** 0.5"),
        ("np.mean(", "np.sum("),
        ("np.mean(", "20 / np.log(10) * np.mean("),
    ],
    "10 check_log_mels": [
        ("if not np.isfinite(log_mels).all()", "if False"),
        ("least < np.log(1e-5) - 1e-4 or largest > np.log(1e8) + 1e-4", "False"),
        (" or largest > np.log(1e8) + 1e-4", ""),
        ("- 1e-4 or largest > np.log(1e8) + 1e-4", "or largest > np.log(1e8)"),
        ("log_mels.ndim != 3 or ", ""),
        ("log_mels.shape[2] != 128 or ", ""),
    ],
    "10 decode": [
        (":, context * 320 : -context * 320]", ":, : -2 * context * 320]"),
        ('mode="reflect"', 'mode="constant"'),
        ('mode="reflect"', 'mode="symmetric"'),
        ('mode="reflect"', 'mode="edge"'),
        ("np.linspace(0, 1, shared * 320)", "np.linspace(1, 0, shared * 320)"),
        ("np.linspace(0, 1, shared * 320)", "np.ones(shared * 320)"),
        ("first + length + shared, frames", "first + length, frames"),
    ],
    "11 gaussian": [
        ("/ (len(x) - 1)", "/ len(x)"),
        ("(x - mean).T @ (x - mean)", "x.T @ x"),
        (" / (len(x) - 1)", ""),
        ("(x - mean).T @ (x - mean) / (len(x) - 1)", "np.corrcoef(x.T)"),
        ("(x - mean).T @ (x - mean) / (len(x) - 1)", "np.diag(x.var(0, ddof=1))"),
        ("(x - mean).T @ (x - mean) / (len(x) - 1)", "np.sqrt(np.cov(x.T))"),
    ],
    "11 frechet_distance": [
        ("((mu_b - mu_e) ** 2).sum()", "((mu_b - mu_e) ** 2).sum() ** 0.5"),
        ("((mu_b - mu_e) ** 2).sum() + traces", "traces"),
        ("- 2 * np.sqrt(of", "- np.sqrt(of"),
        ("- 2 * np.sqrt(of", "+ 2 * np.sqrt(of"),
        ("root @ sigma_e @ root", "sigma_b * sigma_e"),
        ("root @ sigma_e @ root", "root @ sigma_e"),
        ("np.sqrt(of_product)", "of_product"),
    ],
    "11 infinity": [
        ("slope, score = ", "score, slope = "),
        ("np.polyfit(1 / sizes", "np.polyfit(sizes"),
        ("return Extrapolation(float(score)", "return Extrapolation(float(scores[-1])"),
        ("rng.permutation(eval.n)[:n]", "rng.integers(eval.n, size=n)"),
        ("1 - (residual**2)", "(residual**2)"),
        ("np.polyfit(1 / sizes", "np.polyfit(1 / sizes**0.5"),
    ],
    "11 log_mel_statistics": [
        ("np.diff(log_mels, axis=1)", "np.diff(log_mels, axis=2, append=0)"),
        ("log_mels.std(axis=1), ", ""),
        ("change.std(axis=1)", "change.mean(axis=1)"),
        ("change.std(axis=1)", "change.var(axis=1)"),
        ("log_mels.std(axis=1), change", "log_mels.std(axis=1, ddof=1), change"),
        ("log_mels.mean(axis=1), log_mels.std(axis=1)", "log_mels.std(axis=1), log_mels.mean(axis=1)"),
    ],
    "12 continuous_cosine_alpha_bar": [
        (" ** 2", ""),
        ("np.cos(", "np.sin("),
        ("(1 - time) * first + time * last", "time * first + (1 - time) * last"),
        ("np.arccos(max_signal_rate), np.arccos(min_signal_rate)", "np.arccos(max_signal_rate), np.pi / 2"),
        (
            "np.cos((1 - time) * first + time * last) ** 2",
            "((1 - time) * max_signal_rate + time * min_signal_rate) ** 2",
        ),
        (
            "np.cos((1 - time) * first + time * last) ** 2",
            "(1 - time) * max_signal_rate**2 + time * min_signal_rate**2",
        ),
    ],
    "12 floor": [
        ("order[half : 2 * half]", "order[: 2 * half]"),
        ("order[half : 2 * half]", "order[:half]"),
        ("np.mean(distances)", "np.sum(distances)"),
        ("float(np.mean(distances))", "float(np.mean(distances)) ** 0.5"),
        ("float(np.mean(distances))", "float(np.mean(distances)) / 2"),
        ("a.covariance, b.mean", "a.covariance, a.mean"),
    ],
    "13 blocks": [
        ("-(-x.nbytes // bytes_per_block)", "x.nbytes // bytes_per_block"),
        ("-(-x.nbytes", "-(-x.size"),
        ("min(backend.worker_count(), rows)", "1"),
        ("-(-rows // pieces)", "1"),
        ("start + step, rows", "start + step + 1, rows"),
        ("-(-rows // pieces)", "max(1, rows // pieces)"),
    ],
    "13 conv2d": [
        ("return y + b", "return y"),
        ("return y + b", "return y - b"),
        ("groups - height + 1), (1, 1)", "groups - height + 1), (0, 2)"),
        ("(1, 4 * groups - height + 1)", "(0, 4 * groups - height + 2)"),
        ("w, 1)", "w[::-1, ::-1], 1)"),
        ("w, 1)", "w.swapaxes(0, 1), 1)"),
        ("(1, 4 * groups - height + 1)", "(2, 4 * groups - height)"),
    ],
    "14 uniform_tau": [
        ("np.round(np.arange(steps + 1) * T / steps)", "np.floor(np.arange(steps + 1) * T / steps)"),
        ("np.arange(steps + 1) * T / steps", "T - np.arange(steps + 1)[::-1] * (T // steps)"),
        ("np.arange(steps + 1) * T / steps", "np.arange(steps + 1) * (T // steps)"),
        ("np.arange(steps + 1) * T / steps", "np.linspace(0, T, steps)"),
        (".astype(int)", ".astype(int)[::-1]"),
        ("* T /", "* (T - 1) /"),
    ],
    "14 clipped": [
        ("return (x - ab**0.5 * x0) / (1 - ab) ** 0.5", "return eps_model(x, t)"),
        ("return (x - ab**0.5 * x0) / (1 - ab) ** 0.5", "return eps_model(x, t).clip(-limit, limit)"),
        ("return (x - ab**0.5 * x0) / (1 - ab) ** 0.5", "return x0"),
        (".clip(-limit, limit)", ".clip(-1, 1)"),
        ("ab**0.5 * x0) / (1 - ab) ** 0.5", "ab * x0) / (1 - ab)"),
        ("eps_model(x, t)).clip(-limit, limit)", "eps_model(x, t))"),
    ],
    "14 eps_of_velocity": [
        (" + np.sqrt(1 - ab)", " - np.sqrt(1 - ab)"),
        ("return np.sqrt(ab)", "return -np.sqrt(ab)"),
        ("np.sqrt(ab).astype(x_t.dtype) * v + np.sqrt(1 - ab)", "np.sqrt(1 - ab).astype(x_t.dtype) * v + np.sqrt(ab)"),
        ("np.sqrt(ab).astype(x_t.dtype) * v + np.sqrt(1 - ab)", "ab.astype(x_t.dtype) * v + (1 - ab)"),
        ("    if ab.ndim:", "    if False:"),
        (
            "return np.sqrt(ab).astype(x_t.dtype) * v + np.sqrt(1 - ab).astype(x_t.dtype) * x_t",
            "s, n = np.sqrt(ab), np.sqrt(1 - ab); return ((v + n * (s * x_t - n * v)) / s).astype(x_t.dtype)",
        ),
    ],
    "14 update_average": [
        ("+= (1 - decay) * current", "+= current"),
        ("average *= decay", "average = average * decay"),
        ("average *= decay\n    average += (1 - decay)", "average *= 1 - decay\n    average += decay"),
        ("average *= decay\n", "average *= 1\n"),
        ("average *= decay", "average *= 0"),
        ("+= (1 - decay) * current", "+= decay * current"),
    ],
    "15 encode": [
        ("tied.append((program, pitch))", "pass"),
        ('    words.append(("tie", 0))\n', ""),
        ("if start < 0 < stop:", "if start <= 0 < stop:"),
        ('sorted(tied):\n        words += [("program", program), ("pitch", pitch)]', "sorted(tied):\n        pass"),
        ("    tokens.append(END)\n", ""),
        ('kind in ("time", "program", "velocity") and', "kind in ('program', 'velocity') and"),
        ('kind in ("time", "program", "velocity") and', "kind in ('time',) and"),
        ('("velocity", on), ("drum", pitch)', '("velocity", on), ("pitch", pitch)'),
        ("round(100 * ", "round(50 * "),
        ("if 0 < stop < end:", "if False:"),
        ("events.append((stop, 0, program, pitch))", "events.append((stop, 2, program, pitch))"),
        (
            'for time, on, program, pitch in sorted(events):\n        words.append(("time", time))',
            "last = 0\n    for time, on, program, pitch in sorted(events):\n"
            "        words.append(('time', time - last))\n        last = time",
        ),
    ],
    "15 attention": [
        ("scores = np.where(mask[:, None, :], scores, -1e9)", "pass"),
        ("scores = np.where(mask[:, None, :], scores, -1e9)", "scores = scores * mask[:, None, :]"),
        ("p = p * mask[:, None, :]", "pass"),
        ("np.where(mask[:, None, :], scores, -1e9)", "np.where(mask[:, None, :], -1e9, scores)"),
        ("q = q / q.shape[2] ** 0.5", "q = q * 1"),
        ("q.shape[2] ** 0.5", "q.shape[2]"),
        ("axis=2", "axis=1"),
        (
            "scores = np.where(mask[:, None, :], scores, -1e9)\n    p = np.exp",
            "pass\n    p = np.exp",
        ),
        ("if mask is not None:\n        scores", "if False:\n        scores"),
    ],
    "15 context_channel": [
        ("[::-1]", ""),
        ("past[-count:][::-1]", "past[:count][::-1]"),
        ("past[-count:][::-1]", "past[:count]"),
        ("past[-count:][::-1]", "past[-count:][::-1, ::-1]"),
        ("channel[i, :count, :, 0]", "channel[i, frames - count :, :, 0]"),
        ("        if count:\n", "        past, count = past[:-1], min(len(past[:-1]), frames)\n        if count:\n"),
        (
            "        if count:\n            channel",
            "        if count:\n            channel[i, :, :, 0] = past[-count]\n            channel",
        ),
    ],
    "15 guided": [
        ("start + weight", "start - weight"),
        ("start = untold(x, t)", "start = told(x, t)"),
        ("return start + weight * (told(x, t) - start)", "return told(x, t) + weight * (told(x, t) - start)"),
        ("return start + weight * (told(x, t) - start)", "return told(x, t) + weight * (start - told(x, t))"),
        ("return start + weight * (told(x, t) - start)", "return weight * told(x, t)"),
        ("return start + weight * (told(x, t) - start)", "return weight * (told(x, t) - start)"),
        ("return start + weight * (told(x, t) - start)", "return told(x, t)"),
        ("    if weight == 1:\n        return told\n", ""),
    ],
}
UNHURT = "def column(a, x):\n    return np.reshape(a, (-1,) + (1,) * (x.ndim - 1)) if np.ndim(a) else a\n"


def planted(text: str, name: str, old: str, new: str):
    """The function `name` of a solution's text, with one edit."""
    (node,) = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name)
    function = ast.get_source_segment(text, node)
    function += "\n"
    assert old in function, f"{name} has no {old!r}"
    namespace = {}
    exec(text + "\n" + UNHURT + function.replace(old, new), namespace)
    return namespace[name]


def verdict(exercise, function):
    """(found, named) by the examples alone."""
    in_place = changed_in_place(exercise)
    for probe in exercise.examples.values():
        right, given = probe(exercise.original()), []
        try:
            obtained = probe(on_copies(function, given, in_place))
        except Exception:
            return True, False  # the message is the exception's
        if compare(right, obtained, exercise.tolerance):
            return True, bool(recognise(exercise, probe, right, obtained))
        if not all(same(before, after) for _, before, after in given):
            return True, True  # "you changed ... in place"
    return False, False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", sorted({key[:2] for key in PLANTED}))
def test_planted_mistakes_fail_and_are_named(number):
    (folder,) = find(number)
    text = (folder / "solution.py").read_text(encoding="utf-8")
    found, unnamed = {}, []
    for exercise in exercises(folder):
        edits = PLANTED[f"{number} {exercise.name}"]
        assert len(edits) >= 6 <= len(exercise.mistakes)
        for old, new in edits:
            place = f"{exercise.name}: {old!r} -> {new!r}"
            found[place], named = verdict(exercise, planted(text, exercise.name, old, new))
            if not named:
                unnamed.append(place)
    assert [place for place, seen in found.items() if not seen] == []
    assert len(unnamed) <= 0.2 * len(found), unnamed
    print(f"{number}: {len(found)} planted, {len(found) - len(unnamed)} named; not: {unnamed}")


def test_right_answers_are_not_found():
    for number in sorted({key[:2] for key in PLANTED}):
        (folder,) = find(number)
        text = (folder / "solution.py").read_text(encoding="utf-8")
        for exercise in exercises(folder):
            namespace = {}
            exec(text, namespace)
            assert verdict(exercise, namespace[exercise.name]) == (False, False), exercise.name

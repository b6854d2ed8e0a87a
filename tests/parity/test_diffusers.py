"""Schedules and samplers against the schedulers of the library diffusers: the same network, times and noise.

diffusers counts time from 0 (its t is our t + 1) and hands its schedule round in float32; its products are replaced
by ours in float64 so that a comparison can be sharp. Where it does something else than the papers, a test says what.
"""

import numpy as np
import pytest
from helpers import reference, relative_error

from ddim_from_scratch.diffusion import (
    PREDICTIONS,
    clipped,
    cosine_schedule,
    ddim,
    ddim_inversion,
    ddpm,
    dpm_solver_pp_2m,
    heun,
    linear_schedule,
    q_sample,
    thresholded,
    velocity,
)

ALPHA_BAR = linear_schedule(1000)
KINDS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "num_train_timesteps": 1000}


def output(x, t):
    """What the network puts out, be it eps, v or x0: smooth, not linear in x, other at every t."""
    return np.sin(2 * x + t / 300)


def our_eps_model(prediction, alpha_bar=ALPHA_BAR):
    return lambda x, t: PREDICTIONS[prediction].eps(x, alpha_bar[t], output(x, t))


def scheduler_of(name, prediction="eps", **settings):
    torch, diffusers = reference("torch"), reference("diffusers")
    scheduler = getattr(diffusers, name)(**LINEAR, prediction_type=KINDS[prediction], **settings)
    scheduler.alphas_cumprod = torch.tensor(ALPHA_BAR[1:])
    return scheduler


def walk(scheduler, x, step=lambda scheduler, *arguments: scheduler.step(*arguments), network=output):
    """Every x of a diffusers loop, as NumPy arrays."""
    torch = reference("torch")
    x, xs = torch.tensor(x), [x]
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t).numpy()
        x = step(scheduler, torch.tensor(network(scaled, int(t) + 1)), t, x).prev_sample
        xs.append(x.numpy())
    return xs


def drawn(generator, shape):
    """The noise that our samplers draw, for theirs."""
    return reference("torch").tensor(generator.standard_normal(shape, np.float32).astype(np.float64))


def tau_of(scheduler):
    """The times that a scheduler visits, as a tau of ours."""
    visited = {int(t) + 1 for t in scheduler.timesteps}
    return np.array([0, *sorted(visited)])


def assert_same_walk(ours, theirs, tolerance):
    ours = list(ours)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert relative_error(a, b) < tolerance


@pytest.mark.parametrize(("name", "schedule"), [("linear", linear_schedule), ("squaredcos_cap_v2", cosine_schedule)])
def test_schedules(name, schedule):
    theirs = reference("diffusers").DDPMScheduler(beta_schedule=name)
    np.testing.assert_allclose(schedule(1000)[1:], theirs.alphas_cumprod, rtol=2e-5)  # theirs is a product in float32
    np.testing.assert_allclose(1 - schedule(1000)[1:] / schedule(1000)[:-1], theirs.betas, rtol=1e-6)


def test_forward_process(rng):
    torch, scheduler = reference("torch"), scheduler_of("DDPMScheduler")
    x0, eps = rng.standard_normal((2, 3, 8))
    times = np.array([1, 500, 1000])
    arguments = torch.tensor(x0), torch.tensor(eps), torch.tensor(times - 1)
    assert relative_error(q_sample(x0, ALPHA_BAR[times], eps), scheduler.add_noise(*arguments)) < 1e-12
    assert relative_error(velocity(x0, ALPHA_BAR[times], eps), scheduler.get_velocity(*arguments)) < 1e-12


# DDPM


@pytest.mark.parametrize("prediction", KINDS)
@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize(("spacing", "steps"), [("leading", 1000), ("leading", 10), ("linspace", 10)])
def test_ddpm(spacing, steps, variance, prediction, monkeypatch, rng):
    """Their noise is drawn from a generator like ours."""
    generator, x_T = np.random.default_rng(1), rng.standard_normal((2, 5))
    module = reference("diffusers.schedulers.scheduling_ddpm")
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **_: drawn(generator, shape))
    settings = {"variance_type": {"posterior": "fixed_small", "beta": "fixed_large"}[variance]}
    scheduler = scheduler_of("DDPMScheduler", prediction, clip_sample=False, timestep_spacing=spacing, **settings)
    scheduler.set_timesteps(steps)
    tau = tau_of(scheduler)
    ours = ddpm(our_eps_model(prediction), x_T, ALPHA_BAR, np.random.default_rng(1), variance, tau)
    assert_same_walk(ours, walk(scheduler, x_T), 1e-9)


# DDIM


def ddim_walk(scheduler, x_T, eta=0.0, **settings):
    generator = np.random.default_rng(1)

    def step(scheduler, out, t, x):
        return scheduler.step(out, t, x, eta=eta, variance_noise=drawn(generator, x.shape), **settings)

    return walk(scheduler, x_T, step)


@pytest.mark.parametrize("prediction", KINDS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("spacing", "steps"), [("leading", 10), ("leading", 7), ("trailing", 10), ("linspace", 1000)])
def test_ddim(spacing, steps, eta, prediction, rng):
    scheduler = scheduler_of("DDIMScheduler", prediction, timestep_spacing=spacing, clip_sample=False)
    scheduler.set_timesteps(steps)
    x_T = rng.standard_normal((2, 5))
    ours = ddim(our_eps_model(prediction), x_T, ALPHA_BAR, tau_of(scheduler), eta, np.random.default_rng(1))
    assert_same_walk(ours, ddim_walk(scheduler, x_T, eta), 1e-9)


@pytest.mark.parametrize(
    ("wrap", "settings"),
    [
        (lambda model: clipped(model, ALPHA_BAR, 0.7), {"clip_sample": True, "clip_sample_range": 0.7}),
        (
            lambda model: thresholded(model, ALPHA_BAR, 90.0),
            {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1e9},
        ),
    ],
    ids=["clipped", "thresholded"],
)
def test_x0_kept_in_range(wrap, settings, rng):
    """With eps derived again, on request."""
    scheduler = scheduler_of("DDIMScheduler", timestep_spacing="trailing", **settings)
    scheduler.set_timesteps(10)
    x_T = rng.standard_normal((2, 5, 4, 3))
    ours = list(ddim(wrap(our_eps_model("eps")), x_T, ALPHA_BAR, tau_of(scheduler)))
    assert_same_walk(ours, ddim_walk(scheduler, x_T, use_clipped_model_output=True), 1e-9)


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_inversion(spacing, prediction, rng):
    """Both tell the network t for an x that is still at s. diffusers reads v as if it had been told s.

    (At s = 0 it would divide a predicted x0 by a noise rate of zero.)
    """
    scheduler = scheduler_of("DDIMInverseScheduler", prediction, timestep_spacing=spacing, clip_sample=False)
    scheduler.set_timesteps(10)
    x0, tau = rng.standard_normal((2, 5)), tau_of(scheduler)
    below = dict(zip(tau[1:].tolist(), tau[:-1].tolist(), strict=True))

    def eps_model(x, t):
        return PREDICTIONS[prediction].eps(x, ALPHA_BAR[below[t]], output(x, t))

    assert_same_walk(ddim_inversion(eps_model, x0, ALPHA_BAR, tau), walk(scheduler, x0), 1e-9)


# Second order. These work with their own float32 table of noise levels: 1e-5 at most was measured.


@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("prediction", KINDS)
def test_dpm_solver_pp_2m(prediction, spacing, steps, rng):
    scheduler = scheduler_of("DPMSolverMultistepScheduler", prediction, timestep_spacing=spacing)
    assert scheduler.config.solver_order == 2 and scheduler.config.final_sigmas_type == "zero"
    scheduler.set_timesteps(steps)
    x_T = rng.standard_normal((2, 5)).astype(np.float32)
    ours = dpm_solver_pp_2m(our_eps_model(prediction), x_T, ALPHA_BAR, tau_of(scheduler))
    assert_same_walk(ours, walk(scheduler, x_T), 2e-5)


def test_dpm_solver_pp_2m_that_ends_at_the_first_noise_level(rng):
    """With alpha_bar[0] = alpha_bar[1]."""
    settings = {"final_sigmas_type": "sigma_min", "lower_order_final": False}
    scheduler = scheduler_of("DPMSolverMultistepScheduler", **settings)
    scheduler.set_timesteps(10)
    tau, alpha_bar = tau_of(scheduler), np.concatenate([ALPHA_BAR[1:2], ALPHA_BAR[1:]])
    x_T = rng.standard_normal((2, 5)).astype(np.float32)
    assert_same_walk(dpm_solver_pp_2m(our_eps_model("eps"), x_T, alpha_bar, tau), walk(scheduler, x_T), 2e-5)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_heun(prediction, spacing, rng):
    """diffusers walks in x / sqrt(alpha_bar), and yields the end of each Euler step as well."""
    scheduler = scheduler_of("HeunDiscreteScheduler", prediction, timestep_spacing=spacing)
    scheduler.set_timesteps(10)
    tau = tau_of(scheduler)
    signal_rates = ALPHA_BAR[tau[::-1]] ** 0.5
    x_T = rng.standard_normal((2, 5))
    theirs = walk(scheduler, x_T / signal_rates[0])
    steps = [theirs[0], *theirs[2::2], theirs[-1]]
    ours = heun(our_eps_model(prediction), x_T, ALPHA_BAR, tau)
    assert_same_walk(ours, [x * rate for x, rate in zip(steps, signal_rates, strict=True)], 2e-5)

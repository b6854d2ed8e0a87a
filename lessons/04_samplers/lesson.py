# %% [markdown]
# # Samplers, judged by an oracle
#
# If a sample is bad, is it the network's fault or the sampler's? Take the network out. For simple data the
# best possible answer can be written down, and a sampler that asks such an oracle has no excuse. This lesson
# watches samplers at work in one and two dimensions, measures how fast their errors vanish, and finds out
# what noise is good for, what clipping breaks, and how to walk backwards.
#
# You need lesson 03. The lesson runs in about 20 seconds.

# %%
import matplotlib.pyplot as plt
import numpy as np

from ddim_from_scratch.diffusion import (
    alpha_bar_of_log_snr,
    clipped,
    ddim,
    ddim_inversion,
    ddpm,
    dpm_solver_pp_2m,
    eps_of_x0,
    gaussian_eps_model,
    heun,
    linear_schedule,
    log_snr,
    log_snr_tau,
    mixture_eps_model,
    predict_x0,
    q_sample,
    quadratic_tau,
    uniform_tau,
)
from lessons import FAST, film, show_source

rng = np.random.default_rng(0)
T = 1000
alpha_bar = linear_schedule(T)


def last(steps):
    """A sampler yields every x on its way; this is the sample."""
    *_, x = steps
    return x


# %% [markdown]
# ## The best answer there is
#
# A network is shown $x_t$, and its loss is the mean of $(\epsilon - f(x_t))^2$. Many different noises lead to
# the same $x_t$, from different data. Which one number $f$ has the least mean square distance to all of them?
# Their mean: for any other number $f$
#
# $$\mathbb{E}\big[(\epsilon - f)^2\big] = \operatorname{var}(\epsilon) + \big(\mathbb{E}[\epsilon] - f\big)^2.$$
#
# So the perfect network is the conditional mean, $\epsilon^*(x, t) = \mathbb{E}[\epsilon \mid x_t = x]$. For data
# from a Gaussian, $x_0 \sim \mathcal{N}(m, v)$, it is a straight line, the regression of $\epsilon$ on $x_t =
# \sqrt{\bar{\alpha}_t}\, x_0 + \sqrt{1 - \bar{\alpha}_t}\, \epsilon$: covariance by variance,
#
# $$\epsilon^*(x, t) = \frac{\operatorname{cov}(\epsilon, x_t)}{\operatorname{var}(x_t)}\, (x - \mathbb{E}[x_t])
# = \frac{\sqrt{1 - \bar{\alpha}_t}}{\bar{\alpha}_t v + 1 - \bar{\alpha}_t}\, (x - \sqrt{\bar{\alpha}_t}\, m).$$

# %%
show_source(gaussian_eps_model)
m, v, t = 1.5, 0.25, 300
eps = rng.standard_normal(200_000)
x_t = q_sample(m + v**0.5 * rng.standard_normal(200_000), alpha_bar[t], eps)
slope, intercept = np.polyfit(x_t, eps, 1)  # least squares over all draws
oracle = gaussian_eps_model(m, v, alpha_bar)
points = np.array([-1.0, 0.0, 2.0])
print("x             ", *(f"{x:7.1f}" for x in points))
print("fitted to draws", *(f"{slope * x + intercept:7.3f}" for x in points))
print("the formula    ", *(f"{eps_star:7.3f}" for eps_star in oracle(points, t)))
assert np.allclose(oracle(points, t), slope * points + intercept, atol=0.02)

# %% [markdown]
# Even the perfect network has a loss, because $x_t$ does not tell what was noise in it. What remains is
# the conditional variance, $\bar{\alpha}_t v / (\bar{\alpha}_t v + 1 - \bar{\alpha}_t)$: all near the data, where the
# noise can't be seen, and nothing near the noise.

# %%
print("   t    loss of the oracle    formula")
for t in (1, 100, 300, 1000):
    x_t = q_sample(m + v**0.5 * rng.standard_normal(200_000), alpha_bar[t], eps)
    loss = np.mean((eps - oracle(x_t, t)) ** 2)
    least = alpha_bar[t] * v / (alpha_bar[t] * v + 1 - alpha_bar[t])
    print(f"{t:4}{loss:22.4f}{least:11.4f}")
    assert abs(loss - least) < 0.01

# %% [markdown]
# ## Two clouds
#
# A single Gaussian is too easy: everything stays a straight line. With *two* clouds there is something to
# decide. The oracle is the mean of the two clouds' answers, weighted by the chance that $x_t$ came from each:

# %%
clouds = {
    "means": np.array([[-1.0], [1.5]]),
    "variances": np.array([0.1, 0.05]),
    "weights": np.array([0.3, 0.7]),
}
model = mixture_eps_model(**clouds, alpha_bar=alpha_bar)
show_source(mixture_eps_model)


def density(x, ab):
    """p_t of x (n,): each cloud shrinks towards 0 and is blurred."""
    means, variances = ab**0.5 * clouds["means"][:, 0], ab * clouds["variances"] + 1 - ab
    bells = np.exp(-((x[:, None] - means) ** 2) / (2 * variances)) / np.sqrt(2 * np.pi * variances)
    return bells @ clouds["weights"]


# %% [markdown]
# One more way to see it, worth remembering: $\epsilon^* = -\sqrt{1 - \bar{\alpha}_t}\; \nabla \log p_t(x)$. The noise
# points *down* the density; a step against it goes uphill, to where more data are. (The gradient is called
# the *score*.)

# %%
x, h = np.linspace(-3, 3, 601), 1e-4
for t in (50, 400):
    ab = alpha_bar[t]
    score = (np.log(density(x + h, ab)) - np.log(density(x - h, ab))) / (2 * h)
    difference = np.abs(model(x[:, None], t)[:, 0] + (1 - ab) ** 0.5 * score).max()
    print(f"t = {t:3}: oracle and score differ by {difference:.0e} at most")
    assert difference < 1e-4

# %% [markdown]
# Now run both samplers of lesson 03 from the same 14 noises. Behind them, bright, is where the data and all
# their noisy versions are.

# %%
tau = uniform_tau(T, 200)
starts = np.linspace(-2, 2, 14)[:, None]
paths = {
    "DDIM (eta = 0)": np.array(list(ddim(model, starts, alpha_bar, tau))),
    "DDPM (eta = 1)": np.array(list(ddpm(model, starts, alpha_bar, rng, tau=tau))),
}

# %% tags=["hide-input"]
x = np.linspace(-3, 3, 241)
ground = np.array([density(x, alpha_bar[t]) for t in tau[::-1]]).T  # (x, time), running back
fig, axes = plt.subplots(2, 1, figsize=(6, 6), sharex=True)
for ax, (name, path) in zip(axes, paths.items(), strict=True):
    ax.imshow(ground**0.5, extent=(T, 0, -3, 3), cmap="viridis")
    ax.plot(tau[::-1], path[:, :, 0], color="white", linewidth=1)
    ax.set(title=name, ylabel="$x_t$", xlim=(T, 0), ylim=(-3, 3))
axes[-1].set_xlabel("time t (steps), running back from noise to data")
plt.show()

# %% [markdown]
# DDIM's paths are smooth and never cross; neighbours stay neighbours, and the two clouds share the noise out
# between them: the lower 30 % of the starts go down. DDPM's wander, and nobody can tell from the start where
# one ends. Both fill the clouds with their weights:

# %%
sizes = 2000 if FAST else 20_000
noise = rng.standard_normal((sizes, 1))
results = {
    "DDIM": last(ddim(model, noise, alpha_bar, tau))[:, 0],
    "DDPM": last(ddpm(model, noise, alpha_bar, rng, tau=tau))[:, 0],
}
for name, x in results.items():
    upper = x[x > 0.25]
    print(f"{name}: {100 * len(upper) / sizes:.1f} % in the upper cloud,", end=" ")
    print(f"its mean {upper.mean():.3f} and variance {upper.var():.4f}")
    assert abs(len(upper) / sizes - 0.7) < 0.04 and abs(upper.mean() - 1.5) < 0.02
    assert abs(upper.var() - 0.05) < 0.006
moved = [np.corrcoef(noise[:, 0].argsort().argsort(), x.argsort().argsort())[0, 1] for x in results.values()]
print(f"rank correlation of noise and sample: DDIM {moved[0]:.3f}, DDPM {moved[1]:.3f}")
assert moved[0] > 0.9999 and abs(moved[1]) < 0.1

# %% [markdown]
# ## A film in two dimensions
#
# Any shape can be made of many small clouds. This one is an eighth note of 132. Left DDIM, right DDPM, with the
# same 700 noises and sixty steps.

# %%
turn = np.linspace(0, 2 * np.pi, 25)[:-1]
head = np.concatenate([r * np.stack([0.55 * np.cos(turn), 0.38 * np.sin(turn)], 1) for r in (0.3, 0.65, 1)])
stem = np.stack([np.full(36, 0.5), np.linspace(0, 2.4, 36)], 1)
fall = np.linspace(0, 1, 24)
flag = np.stack([0.5 + 0.8 * np.sin(0.6 * np.pi * fall), 2.4 - 1.3 * fall], 1)
note = np.concatenate([head, stem, flag])
note = (note - note.mean(axis=0)) / note.std()
small = {"variances": np.full(len(note), 2e-3), "weights": np.full(len(note), 1 / len(note))}
draw_note = mixture_eps_model(note, **small, alpha_bar=alpha_bar)
print(f"{len(note)} clouds, each {2e-3**0.5:.3f} wide")
assert len(note) == 132

particles = rng.standard_normal((700, 2))
sixty = uniform_tau(T, 60)
swarm = [
    np.array(list(ddim(draw_note, particles, alpha_bar, sixty))),
    np.array(list(ddpm(draw_note, particles, alpha_bar, rng, tau=sixty))),
]
for name, x in zip(("DDIM", "DDPM"), swarm, strict=True):
    distance = np.linalg.norm(x[-1][:, None] - note, axis=-1).min(axis=1)
    print(f"{name}: the particles end {distance.mean():.3f} from the nearest cloud's middle, on average")
    assert distance.mean() < 0.1

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(6, 3.5), sharey=True)
dots = []
for ax, name in zip(axes, ("DDIM (eta = 0)", "DDPM (eta = 1)"), strict=True):
    dots += ax.plot([], [], ".", markersize=2.5)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xlabel="first coordinate", title=name)
axes[0].set_ylabel("second coordinate")
heading = fig.suptitle("t = 1000")
frames = [*range(61), *[60] * 12]


def fly(i):
    for line, x in zip(dots, swarm, strict=True):
        line.set_data(*x[frames[i]].T)
    heading.set_text(f"t = {sixty[::-1][frames[i]]}")


film(fig, fly, len(frames), "particles gather from noise to the shape of an eighth note, with DDIM and DDPM", 10)

# %% [markdown]
# Left everything streams, right it boils, and both times the note appears only in the last third: before that,
# the noise is larger than the note's lines are apart.
#
# ## A differential equation
#
# Why is DDIM smooth? Put $\sigma = 0$ into its step and divide by $\sqrt{\bar{\alpha}_s}$:
#
# $$\frac{x_s}{\sqrt{\bar{\alpha}_s}} = \frac{x_t}{\sqrt{\bar{\alpha}_t}}
# + \left(\sqrt{\frac{1 - \bar{\alpha}_s}{\bar{\alpha}_s}} - \sqrt{\frac{1 - \bar{\alpha}_t}{\bar{\alpha}_t}}\right)
# \epsilon(x_t, t).$$
#
# With $y = x / \text{signal rate}$ and $u = \text{noise rate} / \text{signal rate}$ that is
#
# $$y_s = y_t + (u_s - u_t)\, \epsilon,$$
#
# Euler's rule for the differential equation $dy/du = \epsilon$ (DDIM, equation 14): go straight on in the
# direction that holds where you are. More steps follow the curve more closely, and in the limit there is one
# true curve through every point.


# %%
def u_of(ab):
    return ((1 - ab) / ab) ** 0.5


x, t, s = np.array([[0.4]]), 600, 400
euler = x / alpha_bar[t] ** 0.5 + (u_of(alpha_bar[s]) - u_of(alpha_bar[t])) * model(x, t)
_, step = ddim(model, x, alpha_bar, np.array([s, t]) - s) if False else (None, None)
walk = ddim(model, x, alpha_bar, np.array([0, s, t]))
next(walk)
print(f"Euler's rule: {(euler * alpha_bar[s] ** 0.5).item():.9f}")
print(f"DDIM:         {(moved := next(walk)).item():.9f}")
assert np.allclose(moved, euler * alpha_bar[s] ** 0.5)

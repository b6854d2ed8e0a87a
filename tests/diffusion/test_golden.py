"""The numbers that the tests of the library diffusers publish, from its recipe: DDIM and DPM-Solver++ on a toy model.

Its scheduler counts time from 0, ours from 1. It clips x0 to -1..1 without deriving eps again, but on this
recipe x0 never gets there, so our samplers, which do not clip, must give the same.
"""

import numpy as np
import pytest
from helpers import last

from ddim_from_scratch.diffusion import PREDICTIONS, ddim, dpm_solver_pp_2m, linear_schedule, predict_x0, q_sample

RAMP = np.arange(768) / 768
SAMPLE = RAMP.reshape(3, 8, 8, 4).transpose(3, 0, 1, 2)
LEADING = np.concatenate([[0], 1 + np.arange(0, 1000, 100)])  # never visits T = 1000


def toy_eps_model(prediction, alpha_bar):
    def eps_model(x, t):
        eps = PREDICTIONS[prediction].eps(x, alpha_bar[t], x * (t - 1) / t)
        assert np.abs(predict_x0(x, alpha_bar[t], eps)).max() < 1
        return eps

    return eps_model


def ends_at_the_first_level(alpha_bar):
    """The last step goes to alpha_bar_1 in place of 1: diffusers' set_alpha_to_one=False, final sigma = sigma_min."""
    return np.concatenate([alpha_bar[1:2], alpha_bar[1:]])


DDIM_CASES = {
    "eta 0": ("eps", linear_schedule(), 172.0067, 0.223967),
    "v-prediction": ("v", linear_schedule(), 52.5302, 0.0684),
    "final alpha 1": ("eps", linear_schedule(beta_start=0.01), 149.8295, 0.1951),
    "final alpha alpha_bar_1": ("eps", ends_at_the_first_level(linear_schedule(beta_start=0.01)), 149.0784, 0.1941),
}


@pytest.mark.parametrize("name", DDIM_CASES)
def test_ddim(name):
    prediction, alpha_bar, total, mean = DDIM_CASES[name]
    x = np.abs(last(ddim(toy_eps_model(prediction, alpha_bar), SAMPLE, alpha_bar, LEADING)))
    # Their float32 is 2e-4 off at 172.
    assert x.sum() == pytest.approx(total, abs=3e-4)
    assert x.mean() == pytest.approx(mean, abs=5e-5)


def test_ddim_from_noised_data():
    """The data get the noise of the third last step, of which two are left."""
    alpha_bar, tau = linear_schedule(), LEADING[:3]
    x = q_sample(SAMPLE, alpha_bar[tau[-1]], RAMP[::-1].reshape(3, 8, 8, 4).transpose(3, 0, 1, 2))
    x = np.abs(last(ddim(toy_eps_model("eps", alpha_bar), x, alpha_bar, tau)))
    assert x.sum() == pytest.approx(354.5418, abs=4e-4)  # 3e-4 of it are their float32's
    assert x.mean() == pytest.approx(0.4616, abs=5e-5)


@pytest.mark.parametrize(("prediction", "mean"), [("eps", 0.3301), ("v", 0.2251)])
def test_dpm_solver_pp_2m(prediction, mean):
    alpha_bar = ends_at_the_first_level(linear_schedule())
    tau = np.concatenate([[0], 1 + np.round(np.linspace(0, 999, 11)).astype(int)[1:]])
    x = last(dpm_solver_pp_2m(toy_eps_model(prediction, alpha_bar), SAMPLE, alpha_bar, tau))
    assert np.abs(x).mean() == pytest.approx(mean, abs=5e-5)

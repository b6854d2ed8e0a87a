"""Pictures are drawn on figures of their own: pyplot's backend and figures are the user's."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from ddim_from_scratch.experiments import pictures

ROOT = Path(__file__).resolve().parents[2]
FRAME = np.zeros((8, 128))
SCORE = {"fad": 2.0, "interval": (1.0, 3.0), "floor": 0.5, "ceiling": 1.0}
POINTS = [{"sampler": "ddim", "evaluations": n, "rms": 1 / n, "fad": 1.0, "interval": (0.5, 2.0)} for n in (1, 2)]
DRAW = {
    "log-mels": lambda path: pictures.save_log_mels(path, {"one": [FRAME, FRAME + 1], "two": [FRAME]}),
    "losses": lambda path: pictures.save_losses(path, np.arange(4), {"noise": np.ones(4)}, 1.0),
    "steps": lambda path: pictures.save_step_curves(path, POINTS, ("ddim", 2)),
    "distances": lambda path: pictures.save_distances(path, {"row": SCORE | {"paper": 2.5}}),
    "study": lambda path: pictures.save_study(path, {0: 1.0}, {0: {1: 2.0}}, {"ema": 1.0}),
}


@pytest.fixture
def users(monkeypatch):
    """The user's figure, on a backend of the user's choice."""
    before = matplotlib.get_backend()
    plt.switch_backend("svg")
    yield plt.figure()
    plt.close("all")
    plt.switch_backend(before)


@pytest.mark.parametrize("name", DRAW)
def test_the_users_figures_and_backend_stay(name, users, tmp_path):
    DRAW[name](tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == [users.number] and matplotlib.get_backend() == "svg"


IMPORT_EVERYTHING = """
import importlib, pkgutil
import matplotlib.pyplot as plt
plt.switch_backend("svg")
figure = plt.figure()
import ddim_from_scratch, lessons
for module in pkgutil.walk_packages(ddim_from_scratch.__path__, "ddim_from_scratch."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(plt.get_backend(), plt.get_fignums() == [figure.number])
"""


def test_importing_the_package_leaves_figures_and_backend_alone():
    done = subprocess.run([sys.executable, "-c", IMPORT_EVERYTHING], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "svg True\n", done.stderr

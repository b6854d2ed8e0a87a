"""Options: defaults, validation, the JSON file and the command line made from one dataclass."""

import json

import pytest

from ddim_from_scratch.runtime.cli import Parser
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.spectrogram.config import PRESETS, Config


def options(*arguments):
    """What a command line sets."""
    parser = Parser()
    Config.add_options(parser)
    return Config.given(parser.parse_args([*map(str, arguments)]))


BETTER = {"norm": "group", "ema_schedule": "warmup", "weight_decay": 1e-4, "epsilon": 1e-7}  # than the paper's


def test_defaults_are_the_papers_but_for_what_is_better():
    config = Config(data="x")
    assert config == Config(data="x", **PRESETS["paper"] | BETTER)
    assert config.widths == (32, 64, 96, 128)
    assert (config.block_depth, config.attention, config.schedule) == (2, "lowest", "continuous-cosine")
    assert (config.learning_rate, config.weight_decay, config.ema) == (3e-4, 1e-4, 0.999)
    assert (config.min_signal_rate, config.max_signal_rate) == (0.02, 0.95)
    assert (config.window_seconds, config.window_hop_seconds, config.windows_per_track) == (5.12, 1.0, 20)


def test_json_round_trip():
    config = Config(data="x", widths=(8, 16), limit=3)
    assert Config.from_json(config.to_json()) == config


def test_a_file_from_before_an_option_was_is_of_the_papers_recipe(monkeypatch):
    old = json.loads(Config(data="x", ema=0.9).to_json())
    del old["norm"], old["ema_schedule"], old["epsilon"]  # which was 1e-7 before it could be chosen
    assert Config.from_json(json.dumps(old)) == Config(data="x", ema=0.9, norm="batch", ema_schedule="constant")
    monkeypatch.setitem(Config.FORMER, "norm", "group")  # whatever the default is
    assert Config.from_json(json.dumps(old)).norm == "group"


HUGE, NAN, INFINITY = 10**400, float("nan"), float("inf")
WRONG = {
    "data": ["", 3, None, "a\0b", "a" * 5000, ["a"]],
    "limit": [0, True, 1.0, "all", HUGE],
    "epochs": [0, True, 1.5, 1e30, "3", None, [3], HUGE, {}, INFINITY],
    "batch_size": [-1, 1e30, 4.0, False, HUGE],
    "block_depth": [0],
    "seed": [-1, 0.0, 2**63, "0", True],
    "fad_every": [1.5, True, HUGE],
    "context": [1, 0, "true", None, 1.0],
    "learning_rate": [0.0, NAN, "1", True, None, 1e30, INFINITY, HUGE, -HUGE, [1.0]],
    "weight_decay": [-1e-4],
    "clip_gradient": [-1.0],
    "ema": [1.0],
    "min_signal_rate": [0.0, 0.96],
    "max_signal_rate": [1.0],
    "window_seconds": [0.0, 5.0, 1e300, 20_000.0, HUGE, True],
    "window_hop_seconds": [0.001, 1.7e308, 1e9, "1"],
    "hold_out": [1.0, -0.1],
    "widths": [(32,), (32, 0), (1,) * 9, (4.5, 8), (True, True), (HUGE, 8), "32", 32, None, ((1, 2), 3), {"0": 8}],
    "attention": ["some", None, 1, ["all"], "x" * 99],
}
CHOICES = ("schedule", "prediction", "norm", "crops", "standardise", "learning_rate_schedule", "augment")
WRONG |= {name: ["another"] for name in CHOICES}
WRONG = [(option, value) for option, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("option", "value"), WRONG, ids=[f"{o}-{v!r:.20}" for o, v in WRONG])
def test_types_and_ranges_are_the_same_for_every_source(option, value, tmp_path):
    """A call, a checkpoint's text, and a file for --config: one short line that names the option."""
    text = json.dumps(json.loads(Config(data="x").to_json()) | {option: value})
    (tmp_path / "a.json").write_text(text)
    sources = (
        lambda: Config(**{"data": "x", option: value}),
        lambda: Config.from_json(text),
        lambda: options("--config", tmp_path / "a.json"),
    )
    for source in sources:
        with pytest.raises(UserError, match="--" + option.replace("_", "-")) as error:
            source()
        assert len(str(error.value)) < 250 + len(str(tmp_path))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '"x"', "1", "[[1]]", "[" * 100_000, "9" * 5000, "\xff", '{"data": "x", "a\\nb": 1}',
     '{"colour": 1}', '{"ema": "high"}', '{"epochs": 0}', '{"widths": 3}', '{"widths": [1, 2], "surprise": 1}'],
)  # fmt: skip
def test_a_file_that_holds_no_options_is_named_in_a_short_line(text, tmp_path):
    path = tmp_path / "some.json"
    path.write_bytes(text.encode("latin-1"))
    for source, name in ((lambda: Config.from_json(text), "."), (lambda: options("--config", path), "some.json")):
        with pytest.raises(UserError, match=name) as error:
            source()
        assert len(str(error.value)) < 250 + len(str(tmp_path))


def test_json_needs_its_data_and_a_file_must_be_there(tmp_path):
    assert Config.from_json('{"data": "x", "window_hop_seconds": 1, "ema": 0}').ema == 0  # whole numbers do for others
    with pytest.raises(UserError):
        Config.from_json("{}")
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        options("--config", tmp_path / "absent.json")


def test_an_augmented_window_has_no_context():
    with pytest.raises(UserError, match="--augment is gain, which would not change what --context shows"):
        Config(data="x", augment="gain", context=True)


def test_an_indivisible_length_names_its_neighbours():
    with pytest.raises(UserError, match=r"give 4\.96 or 5\.12"):
        Config(data="x", window_seconds=5.0)


def test_command_line_sets_only_what_is_given():
    given = options("--data", "x", "--widths", 8, 16, "--epochs", 3)
    assert given == {"data": "x", "widths": (8, 16), "epochs": 3}
    with pytest.raises(UserError, match="epochs"):
        options("--epochs", "many")


def test_options_go_before_the_file_and_the_file_before_the_preset(tmp_path):
    (tmp_path / "best.json").write_text('{"ema": 0.97, "block_depth": 1, "widths": [8, 16]}')
    given = options("--preset", "paper-tuned", "--config", tmp_path / "best.json", "--block-depth", 3)
    assert (given["block_depth"], given["ema"], given["widths"]) == (3, 0.97, (8, 16))
    assert given["learning_rate"] == 3.310677931449062e-5
    (tmp_path / "config.json").write_text(Config(data="x", limit=3).to_json())
    assert Config(**options("--config", tmp_path / "config.json")) == Config(data="x", limit=3)


def test_presets_are_the_papers():
    tuned = Config(data="x", **PRESETS["paper-tuned"])
    assert PRESETS["paper"]["norm"] == "batch"
    assert (tuned.block_depth, tuned.weight_decay, tuned.prediction) == (4, 0.06881110177645029, "eps")
    assert (tuned.min_signal_rate, tuned.max_signal_rate) == (0.1952300533099572, 0.9326085838636291)


def test_the_frames_that_last_some_seconds_are_no_more_than_needed():
    config = Config(data="x")
    assert [config.frames_lasting(seconds) for seconds in (0.96, 2.56, 2.976, 5.12, 5.13)] == [48, 128, 152, 256, 264]

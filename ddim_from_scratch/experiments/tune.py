"""Look for the options that bring a training's samples nearest to the recordings, with Optuna.

    python -m ddim_from_scratch.tune --data recordings/ --out tuning --trials 6 --epochs 20
    python -m ddim_from_scratch.train --config tuning/tune-best.json --data recordings/ --run runs/best

Every trial is a training with values of its own, measured by the Frechet distance as it goes, and given up where it
does worse than half of the others did at that epoch. The study is a database, tuning/study.db: the same command goes
on after a stop, and in several terminals at once it is one study that several processes work on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from ..nn.fast import use_plain
from ..runtime.backend import chosen_device, threads
from ..runtime.cli import Parser, add_hardware_options, at_least, flag, run_command
from ..runtime.errors import UserError
from ..runtime.files import write_json
from ..spectrogram.config import Config, add_options, given_options
from ..spectrogram.data import Windows, load_windows
from ..train import train
from ..training.checkpoint import checkpoint_path, epochs_done, load_checkpoint
from ..training.log import read_log
from .pictures import save_study

# Where the paper's authors looked. (Their code drew the learning rate and the weight decay, too, but trained without.)
SPACE: dict[str, dict[str, Any]] = {
    "learning_rate": {"low": 3e-5, "high": 3e-1, "log": True},
    "weight_decay": {"low": 1e-5, "high": 1e-1, "log": True},
    "ema": {"low": 0.95, "high": 0.99},
    "min_signal_rate": {"low": 0.01, "high": 0.20},
    "max_signal_rate": {"low": 0.89, "high": 0.98},
    "block_depth": {"choices": [2, 4]},
}
STUDY = "tune"  # its name in the database
HEARTBEAT_SECONDS = 20  # a trial whose process has shown no sign of life for three is taken up by another
TRIALS_BEFORE_PRUNING = 3
TRIALS_FOR_IMPORTANCE = 4


def suggest(trial: Any) -> dict[str, Any]:
    """A trial's values of the options in SPACE."""
    return {
        name: trial.suggest_categorical(name, **where) if "choices" in where else trial.suggest_float(name, **where)
        for name, where in SPACE.items()
    }


def open_study(out: Path, base: Config) -> Any:
    """The study in OUT/study.db, begun if there is none. base: the options that all trials share.

    Raises UserError without Optuna, for a damaged database, and for a study of another search space, other
    recordings or other options: its scores could not be compared with new ones.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"tuning needs Optuna ({error}): pip install 'ddim_from_scratch[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats are, since 2021
    out.mkdir(parents=True, exist_ok=True)
    shared = {name: value for name, value in json.loads(base.to_json()).items() if name not in SPACE}
    about = {"space": SPACE, "options": shared}
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{out / 'study.db'}",
            engine_kwargs={"connect_args": {"timeout": 60}},  # seconds to wait for another process
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=3 * HEARTBEAT_SECONDS,
            heartbeat_stale_trial_callback=again,
        )
        study = optuna.create_study(
            storage=storage,
            study_name=STUDY,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(constant_liar=True),  # several processes ask for different trials
            pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING),
        )
        begun = study.user_attrs.get("about")
        if begun is None:
            study.set_user_attr("about", about)
            begun = about
    except Exception as error:  # SQLAlchemy and Alembic raise a dozen kinds, some of them pages long
        reason = str(error).split("\n")[0]
        raise UserError(f"{out / 'study.db'} cannot be used as a study ({reason}): choose another --out") from None
    if other := [name for name in begun["space"].keys() | SPACE if begun["space"].get(name) != SPACE.get(name)]:
        name = min(other)
        raise UserError(
            f"{out} holds a study of another search space ({flag(name)} within {begun['space'].get(name)}, not "
            f"{SPACE.get(name)}): choose another --out"
        )
    for name, value in shared.items():
        if begun["options"].get(name) != value:
            raise UserError(
                f"{out} holds a study with {flag(name)} {begun['options'].get(name)}, not {value}: give that, or "
                "choose another --out"
            )
    return study


def again(study: Any, trial: Any) -> None:
    """Queue a trial that was stopped, with what it has reported so far."""
    import optuna

    optuna.storages.RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(study, trial)


def tune(study: Any, base: Config, windows: Windows, out: Path, trials: int, device: str = "cpu") -> None:
    """Run trials until the study has so many, those that other processes run among them.

    Raises UserError if no trial could be finished.
    """
    import optuna

    def objective(trial: Any) -> float:
        run = out / trial.user_attrs.get("run", f"trial_{trial.number:03d}")
        trial.set_user_attr("run", run.name)  # a trial that is taken up again has the attributes of the first
        config = Config(**{**vars(base), **suggest(trial)})
        checkpoint = load_checkpoint(run) if checkpoint_path(run).exists() else None

        def report(epoch: int, fad: float) -> None:
            trial.report(fad, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            if not checkpoint or epochs_done(checkpoint) < config.epochs:
                train(config, windows, run, checkpoint, device, report)
        except optuna.TrialPruned:
            raise
        except UserError as error:  # a learning rate of 0.3 can diverge
            print(f"trial {trial.number}: {error}", file=sys.stderr)
            raise optuna.TrialPruned from None
        except BaseException as stop:  # Ctrl-C, a full disk: the next process takes the trial up
            again(study, study.trials[trial.number])
            if isinstance(stop, SystemExit):  # which Optuna lets pass
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            raise
        return min(row[2] for row in read_log(run / "fad.csv"))

    finished = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
    running = (optuna.trial.TrialState.RUNNING,)
    while True:
        optuna.storages.fail_stale_trials(study)
        done, waiting = (len(study.get_trials(deepcopy=False, states=states)) for states in (finished, running))
        if done >= trials:
            return
        if done + waiting >= trials:
            time.sleep(HEARTBEAT_SECONDS / 10)  # another process is at the last ones
            continue
        study.optimize(objective, n_trials=1)
        write_results(study, out)


def write_results(study: Any, out: Path) -> None:
    """Write tune-best.json, the best trial's options, and tune.png, the study's history and what mattered in it."""
    import optuna

    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not trials:
        return
    best = min(trials, key=lambda trial: trial.value)
    write_json(out / "tune-best.json", best.params)
    importance = {}
    if len(trials) >= TRIALS_FOR_IMPORTANCE:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
        importance = optuna.importance.get_param_importances(study, evaluator=evaluator)
    every = study.get_trials(deepcopy=False)
    save_study(
        out / "tune.png",
        {trial.number: trial.value for trial in trials},
        {trial.number: dict(trial.intermediate_values) for trial in every if trial.intermediate_values},
        importance,
    )


def report(study: Any, out: Path) -> str:
    """The study in words."""
    lines = []
    for trial in study.get_trials(deepcopy=False):
        values = "  ".join(f"{flag(name)} {value:.4g}" for name, value in trial.params.items())
        score = f"{trial.value:8.4g}" if trial.state.name == "COMPLETE" else trial.state.name.lower()
        lines.append(f"  trial {trial.number:3d}  {score:>8s}  {values}")
    lines.append(f"Frechet distances of a few samples, the lowest of each training. {out}/tune-best.json has the best.")
    return "\n".join(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m ddim_from_scratch.tune",
        description=f"Searches for the best {', '.join(map(flag, SPACE))}. All other options are as in train, and the "
        "same for all trials. Stopped, it goes on with the same command; several at a time share one study.",
        epilog="example: python -m ddim_from_scratch.tune --data recordings/ --out tuning --trials 6 --epochs 20",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the study and its trainings")
    parser.add_argument(
        "--trials", type=at_least(1), default=6, help="in all, of all processes (default: 6, the paper's)"
    )
    add_options(parser)
    add_hardware_options(parser)
    return parser.parse_args(argv)


def base_options(args: argparse.Namespace) -> Config:
    """What all trials share. Measured is, unless --fad-every says otherwise, five times a training."""
    options = given_options(args)
    for name in SPACE:
        if name in vars(args):
            raise UserError(f"{flag(name)} is {getattr(args, name)}, but it is searched for: leave it out")
    base = Config(**options)
    every = base.fad_every or max(base.epochs // 5, 1)
    if every > base.epochs:
        raise UserError(f"--fad-every is {every}, but a trial has {base.epochs} epochs: give that or fewer")
    return Config(**{**vars(base), "fad_every": every})


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    device = chosen_device(args.gpu)
    use_plain(args.plain)
    base = base_options(args)
    study = open_study(args.out, base)
    with threads(1 if args.gpu else args.threads):
        tune(study, base, load_windows(base), args.out, args.trials, device)
    print(report(study, args.out))
    if not (args.out / "tune-best.json").exists():
        raise UserError(f"no trial of {args.out} was finished: try more --trials")


if __name__ == "__main__":
    run_command(main)

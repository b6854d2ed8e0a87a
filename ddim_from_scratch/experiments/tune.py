"""Hyperparameter search with Optuna: minimises the Frechet distance between generated clips and the recordings.

    python -m ddim_from_scratch.tune --data recordings/ --out tuning --trials 6 --epochs 20
    python -m ddim_from_scratch.train --config tuning/tune-best.json --data recordings/ --run runs/best

Each trial is a training with its own options. It is measured several times, and pruned if it is worse than the median
of the other trials at that epoch. The study is a database, tuning/study.db: the same command continues after a stop,
and several commands at once share one study.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..nn.fast import computing
from ..runtime.cli import Parser, add_hardware_options, at_least, flag, run_command
from ..runtime.errors import FileError, UserError, line, naming, why
from ..runtime.files import below, conforms, locking, write_json
from ..spectrogram.config import Config
from ..spectrogram.data import Windows, load_windows
from ..spectrogram.model import read_run
from ..spectrogram.system import training
from ..train import train
from ..training.checkpoint import holds_run, read_log
from ..training.guards import no_locks
from ..training.options import shortened
from .pictures import save_study

# The search space of the paper's authors. (Their code drew a learning rate and a weight decay, but did not use them.)
SPACE: dict[str, dict[str, Any]] = {
    "learning_rate": {"low": 3e-5, "high": 3e-1, "log": True},
    "weight_decay": {"low": 1e-5, "high": 1e-1, "log": True},
    "ema": {"low": 0.95, "high": 0.99},
    "min_signal_rate": {"low": 0.01, "high": 0.20},
    "max_signal_rate": {"low": 0.89, "high": 0.98},
    "block_depth": {"choices": [2, 4]},
}
AGAIN = "the same command continues"
UNUSABLE = (
    "cannot be used as a study",
    "free some space if the disk is full, and give the same command again; or choose another --out",
)
STUDY = "tune"  # its name in the database
HEARTBEAT_SECONDS = 20  # after three missed heartbeats another process takes over a trial
TRIALS_BEFORE_PRUNING = 3
TRIALS_FOR_IMPORTANCE = 4


def suggest(trial: Any) -> dict[str, Any]:
    """A trial's values for the options in SPACE."""
    return {
        name: trial.suggest_categorical(name, **where) if "choices" in where else trial.suggest_float(name, **where)
        for name, where in SPACE.items()
    }


def open_study(out: Path, base: Config) -> Any:
    """Opens or creates the study in OUT/study.db. base: the options that all trials share.

    Raises UserError if Optuna is missing, if the database is damaged, or if the study has another search space, other
    recordings or other options, because its distances could not be compared with new ones.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"tuning needs Optuna ({why(error)}): pip install 'ddim_from_scratch[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings(
        "ignore", category=optuna.exceptions.ExperimentalWarning
    )  # heartbeats have been experimental since 2021
    out.mkdir(parents=True, exist_ok=True)
    shared = {name: value for name, value in json.loads(base.to_json()).items() if name not in SPACE}
    about = {"space": SPACE, "options": shared}
    with naming(out / "study.db", *UNUSABLE):
        storage = connected(
            address(below(out, "study.db")),
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
        with storage.engine.connect() as database:  # what it has of trials that it has not would be the next ones'
            strays = database.exec_driver_sql("PRAGMA foreign_key_check").first()
        sound = not strays and [way.name for way in study.directions] == ["MINIMIZE"]
        ways = distributions(begun["space"])
        sound = sound and all(is_ours(trial, ways) for trial in study.get_trials(deepcopy=False))
    if not sound or not conforms(begun, {"space": {str: {}}, "options": {}}):
        raise UserError(f"{out / 'study.db'} is no study of ours: choose another --out")
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


def distributions(space: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What Optuna notes of a trial of such a space: see `suggest`."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        name: CategoricalDistribution(**where) if "choices" in where else FloatDistribution(**where)
        for name, where in space.items()
    }


def is_ours(trial: Any, ways: dict[str, Any]) -> bool:
    """Whether a trial, as the database has it, consists of options drawn in these ways and of distances."""
    values = trial.values or []
    numbers = [*trial.params.values(), *trial.intermediate_values.values(), *values]
    complete = trial.state.name != "COMPLETE" or len(values) == 1
    known = all(ways.get(name) == way for name, way in trial.distributions.items())
    return type(trial.number) is int and complete and known and conforms(numbers, [float])


def address(database: Path) -> str:
    """The address of a database for SQLAlchemy. Raises UserError if SQLite would wait for its locks in vain."""
    with locking(database) as file:
        if reason := no_locks(file):
            raise FileError(
                f"{database} can't be locked ({reason}), as SQLite does it: choose an --out on another disk"
            )
    return f"sqlite:///file:{quote(quote(str(database.resolve())))}?uri=true"  # SQLAlchemy unquotes, then SQLite


def connected(url: str, **settings: Any) -> Any:
    """Optuna's storage in a database. While another process makes the tables, it waits for them."""
    import optuna

    for seconds in (0.1, 0.2, 0.4, 0.8, 1.6):
        try:
            return optuna.storages.RDBStorage(url, **settings)
        except Exception as error:  # both make what neither has found
            if not re.search("already exists|UNIQUE constraint|is locked", str(error)):
                raise
            time.sleep(seconds)
    return optuna.storages.RDBStorage(url, **settings)


def again(study: Any, trial: Any) -> None:
    """Queues a stopped trial again, with the distances it has reported."""
    import optuna

    optuna.storages.RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(study, trial)


def tune(study: Any, base: Config, windows: Windows, out: Path, trials: int, device: str = "cpu") -> None:
    """Runs trials until the study has that many, including those of other processes."""
    import optuna

    def objective(trial: Any) -> float:
        name = trial.user_attrs.get("run", f"trial_{trial.number:03d}")
        if not (isinstance(name, str) and re.fullmatch(r"trial_[0-9]{3,9}", name)):
            raise UserError(
                f"{out / 'study.db'} names {shortened(name)} as the folder of a trial: choose another --out"
            )
        run = below(out, name)
        trial.set_user_attr("run", name)  # a retried trial keeps the attributes of the first
        config = Config(**{**vars(base), **suggest(trial)})
        saved = read_run(run) if holds_run(run) else None

        def report(epoch: int, fad: float) -> None:
            trial.report(fad, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            if not saved or saved.epochs_done < config.epochs:
                train(training(config, saved, device, windows), run, saved, report, AGAIN)
        except optuna.TrialPruned:
            raise
        except UserError as error:  # a learning rate of 0.3 can diverge
            print(f"trial {trial.number}: {line(error)}", file=sys.stderr)
            raise optuna.TrialPruned from None
        except BaseException as stop:  # Ctrl-C or a full disk: another process retries the trial
            again(study, study.trials[trial.number])
            if isinstance(stop, SystemExit):  # which Optuna does not handle
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
            time.sleep(HEARTBEAT_SECONDS / 10)  # other processes run the last trials
            continue
        study.optimize(objective, n_trials=1)
        write_results(study, base, out)


def write_results(study: Any, base: Config, out: Path) -> None:
    """Writes the best trial's configuration, tune-best.json, and the study's history and importances, tune.png."""
    import optuna

    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not trials:
        return
    best = min(trials, key=lambda trial: trial.value)
    write_json(out / "tune-best.json", dataclasses.asdict(base) | best.params)
    importance = {}
    if len(trials) >= TRIALS_FOR_IMPORTANCE:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
        importance = optuna.importance.get_param_importances(study, evaluator=evaluator)
    all_trials = study.get_trials(deepcopy=False)
    save_study(
        out / "tune.png",
        {trial.number: trial.value for trial in trials},
        {trial.number: dict(trial.intermediate_values) for trial in all_trials if trial.intermediate_values},
        importance,
    )


def summary(study: Any, out: Path) -> str:
    """The study in words."""
    lines = []
    for trial in study.get_trials(deepcopy=False):
        values = "  ".join(f"{flag(name)} {value:.4g}" for name, value in trial.params.items())
        result = f"{trial.value:8.4g}" if trial.state.name == "COMPLETE" else trial.state.name.lower()
        lines.append(f"  trial {trial.number:3d}  {result:>8s}  {values}")
    lines.append(
        "Lowest Frechet distance of each training, from a few clips. The best configuration is in "
        f"{out}/tune-best.json."
    )
    return "\n".join(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m ddim_from_scratch.tune",
        description=f"Searches for the best {', '.join(map(flag, SPACE))}. The other options are those of train, "
        "the same for all trials; without --fad-every each training is measured five times. The same command continues "
        "after a stop; several at once share one study.",
        epilog="example: python -m ddim_from_scratch.tune --data recordings/ --out tuning --trials 6 --epochs 20",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the study and its trainings")
    parser.add_argument(
        "--trials",
        type=at_least(1),
        default=6,
        help="total number of trials, counted over all processes (default: 6, as in the paper)",
    )
    Config.add_options(parser)
    add_hardware_options(parser)
    return parser.parse_args(argv)


def base_options(args: argparse.Namespace) -> Config:
    """The options that all trials share. Unless --fad-every is given, each training is measured five times."""
    options = Config.given(args)
    for name in SPACE:
        if name in vars(args):
            raise UserError(f"{flag(name)} is {getattr(args, name)}, but it is searched for: leave it out")
    base = Config(**options)
    fad_every = base.fad_every or max(base.epochs // 5, 1)
    if fad_every > base.epochs:
        raise UserError(f"--fad-every is {fad_every}, but a trial has {base.epochs} epochs: give that or fewer")
    return Config(**{**vars(base), "fad_every": fad_every})


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    base = base_options(args)
    windows = load_windows(base)
    study = open_study(args.out, base)
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    databases = StorageInternalError, SQLAlchemyError
    with naming(args.out / "study.db", *UNUSABLE, databases), computing(args) as device:
        tune(study, base, windows, args.out, args.trials, device)
        print(summary(study, args.out))
    if not (args.out / "tune-best.json").exists():
        raise UserError(f"no trial of {args.out} was completed: try more --trials")


if __name__ == "__main__":
    run_command(main, AGAIN)

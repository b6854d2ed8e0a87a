"""The report of a table of runs: Markdown with a picture, and JSON."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..runtime.files import replacing, write_json
from .heard import MEANING, memorises
from .pictures import save_distances

Row = dict[str, Any]  # a run's metrics.json


class Report(NamedTuple):
    """name: of the files. settings: of the whole table. rows: metrics by row name. columns: keys of COLUMNS."""

    name: str
    title: str
    settings: dict[str, Any]
    rows: dict[str, Row]
    columns: list[str]
    facts: str


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def nearest_ratio(row: Row) -> float | None:
    near = row["nearest"]
    return near and near["generated"] / max(near["real"], 1e-12)


def heard_ratio(name: str, row: Row) -> str:
    return number(row["heard"]["generated"][name] / max(row["heard"]["real"][name], 1e-12))


# The text of each column, and a note that explains it.
COLUMNS: dict[str, tuple[Callable[[Row], str], str]] = {
    "window s": (lambda row: f"{row['seconds']:g}", ""),
    "epochs": (lambda row: str(row["epochs"]), ""),
    "S": (lambda row: str(row["steps"]), ""),
    "batch": (lambda row: str(row["batch_size"]), ""),
    "paper's FAD (VGGish)": (lambda row: number(row["paper"]), ""),
    "distance": (
        lambda row: number(row["fad"]),
        "Frechet distance between the generated clips and the training music, in the space of the embedding. Lower is "
        "better.",
    ),
    "95 %": (
        lambda row: " to ".join(map(number, row["interval"])) if row["interval"] else "-",
        "bootstrap interval of the distance, for other clips of the same networks. Rows whose intervals overlap are "
        "not known to differ.",
    ),
    "of base": (lambda row: number(row["of_base"]), "the distance as a multiple of the base's."),
    "limit": (
        lambda row: number(row["fad_infinity"] and row["fad_infinity"]["score"]),
        "FAD-infinity, the distance extrapolated to infinitely many clips.",
    ),
    "floor": (
        lambda row: number(row["floor"]),
        "distance between two halves of the training music: what a perfect model would reach with so few clips.",
    ),
    "ceiling": (
        lambda row: number(row["ceiling"]),
        "the floor with one half sent through the inverter: what is lost between a spectrogram and sound.",
    ),
    "nearest": (
        lambda row: number(nearest_ratio(row)) + " (memorises)" * memorises(row["nearest"]),
        "distance from a generated clip to its nearest training clip, divided by the distance from a training clip to "
        "the nearest one of another track. A network memorises if its clips are more like copies, training clips that "
        "went through the inverter, than like another track.",
    ),
    "n": (
        lambda row: f"{row['n']} / {row['n_training']}",
        "number of generated clips / of training clips, in windows that do not overlap.",
    ),
    "noise loss": (
        lambda row: number(row["noise_loss"]),
        "mean of the last 50 steps. Compare it only between rows with the same schedule.",
    ),
    "steps": (lambda row: str(row["training_steps"]), ""),
    "training h": (lambda row: f"{row['training_seconds'] / 3600:.2f}", ""),
    "s per step": (lambda row: number(row["seconds_a_step"]), ""),
    "sampling h": (lambda row: f"{row['drawing_seconds'] / 3600:.2f}", ""),
}

COLUMNS |= {
    name: (partial(heard_ratio, name), f"{meaning}; divided by that of real music.")
    for name, meaning in MEANING.items()
}


def write_report(out: Path, report: Report) -> str:
    """Writes NAME.md, NAME.png and NAME.json into `out`. Returns the Markdown."""
    picture = out / f"{report.name}.png"
    save_distances(picture, report.rows)
    lines = [["row", *report.columns], ["---", *["---:"] * len(report.columns)]]
    lines += [[name, *(COLUMNS[column][0](row) for column in report.columns)] for name, row in report.rows.items()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"- **{column}**: {note}" for column in report.columns if (note := COLUMNS[column][1]))
    parts = [f"# {report.title}", *warnings(report), table, f"![distances]({picture.name})", report.facts, notes]
    markdown = "\n\n".join(parts) + "\n"
    with replacing(out / f"{report.name}.md") as file:
        file.write(markdown.encode(errors="backslashreplace"))
    write_json(out / f"{report.name}.json", {"settings": report.settings, "rows": report.rows})
    return markdown


def warnings(report: Report) -> list[str]:
    """Facts that a reader must know before comparing rows."""
    found, embedding = [], report.settings["embedding"]
    if (scale := report.settings.get("scale", 1)) != 1:
        found.append(
            f"These are not the paper's rows: they use only {scale:g} of its epochs and of its steps S. The distances "
            "show that everything works, not how good it is."
        )
    if embedding != "vggish":
        found.append(
            f"The embedding is {embedding}. Its distances are on another scale than those of VGGish, which the paper "
            "uses. Compare them with floor and ceiling, not with the paper's numbers."
        )
    if few := [name for name, row in report.rows.items() if row["embeddings"] <= row["dimension"]]:
        found.append(
            "Fewer embeddings than dimensions: the distance depends mostly on the number of clips. This concerns "
            f"{', '.join(few)}."
        )
    return found

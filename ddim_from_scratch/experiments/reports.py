"""The report of a table: Markdown, one HTML page that holds its pictures and sounds, and JSON."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ..runtime.files import replacing
from .pictures import save_scores

HEARD = 3  # clips of each row on the page

NOTES = {
    "distance": "Frechet distance of the new clips from the training music, in the space of the embedding, lower is "
    "nearer, with its 95 % bootstrap interval for other clips of the same kind. Two rows whose intervals overlap are "
    "not known to differ.",
    "limit": "FAD-infinity, the score extrapolated to any number of new clips.",
    "floor": "real music against real music, halves of the training set: a perfect model's score with so few clips.",
    "ceiling": "the same with one half through the inverter: what is lost between a spectrogram and sound.",
    "nearest": "how far a new clip is from its nearest training clip, as a share of how far real clips are from other "
    "tracks'. Well below 1, the network recites.",
    "n": "new clips / training clips, in windows that do not overlap.",
}

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ccc; }
th:first-child, td:first-child { text-align: left; } img { max-width: 100%; } .warning { color: #a03000; }
audio { width: 20rem; } .table { overflow-x: auto; } p { max-width: 50rem; }"""


def write_report(out: Path, settings: dict, rows: dict[str, dict]) -> str:
    """Write table.md, table.html, table.png and table.json. settings: the table's. rows: metrics of finished rows.

    Returns the Markdown.
    """
    scaled = settings["scale"] != 1
    papers = {name: row["paper"] for name, row in rows.items() if row["paper"] is not None}
    title = "The paper's rows, scaled down" if scaled else "The paper's table"
    warnings = warn(settings, rows)
    header, cells = table(rows, papers, scaled)
    made = "; ".join(sorted({row["hardware"] for row in rows.values()}))
    facts = (
        f"Recipe {settings['preset']}, embedding {settings['embedding']}, inverter {settings['inverter']}, {made}. "
        f"Recordings: {', '.join(f'{name} from {data}' for name, data in settings['data'].items())}."
    )
    return write_files(out, "table", title, warnings, header, cells, facts, NOTES, settings, rows, papers)


def write_files(
    out: Path,
    name: str,
    title: str,
    warnings: list[str],
    header: list[str],
    cells: list[list[str]],
    facts: str,
    notes: dict[str, str],
    settings: dict,
    rows: dict[str, dict],
    papers: Mapping[str, float] = MappingProxyType({}),
) -> str:
    """Any table's NAME.md, .html, .png and .json. header, cells: texts. notes: on columns. Returns the Markdown."""
    picture = out / f"{name}.png"
    save_scores(picture, rows, papers)
    markdown = [f"# {title}", *warnings, markdown_table(header, cells), f"![scores]({picture.name})", facts]
    markdown += ["\n".join(f"- **{column}**: {note}" for column, note in notes.items())]
    texts = {
        "md": "\n\n".join(markdown) + "\n",
        "html": page(out, title, warnings, header, cells, picture, facts, notes, list(rows)),
        "json": json.dumps({"settings": settings, "rows": rows}, indent=2),
    }
    for suffix, text in texts.items():
        with replacing(out / f"{name}.{suffix}") as file:
            file.write(text.encode())
    return texts["md"]


def warn(settings: dict, rows: dict[str, dict]) -> list[str]:
    """What a reader must know before comparing."""
    warnings = []
    if settings.get("scale", 1) != 1:
        warnings.append(
            f"Not the paper's rows: only {settings['scale']:g} of its epochs and of its steps S were taken, as the "
            "columns say. The scores say that everything works, not how good it is."
        )
    if settings["embedding"] != "vggish":
        warnings.append(
            f"Scored with {settings['embedding']}, in whose space distances have another size than in VGGish's, the "
            "paper's: compare with floor and ceiling, not with the paper's numbers."
        )
    singular = [name for name, row in rows.items() if row["embeddings"] <= row["dimension"]]
    if singular:
        warnings.append(
            f"Fewer embeddings than dimensions, so that the score mostly says how few they are: {', '.join(singular)}."
        )
    return warnings


def table(rows: dict[str, dict], papers: dict[str, float], scaled: bool) -> tuple[list[str], list[list[str]]]:
    """The header, and a row of texts for each row."""
    header = ["row", "window s", "epochs", "S", "batch", *([] if scaled else ["paper's FAD (VGGish)"])]
    header += ["distance", "95 %", "limit", "floor", "ceiling", "nearest", "n", "training h", "s a step", "drawing h"]
    cells = []
    for name, row in rows.items():
        near = row["nearest"]
        cells.append(
            [
                name,
                f"{row['seconds']:g}",
                f"{row['epochs']}",
                f"{row['steps']}",
                f"{row['batch_size']}",
                *([] if scaled else [number(papers.get(name))]),
                number(row["fad"]),
                " to ".join(map(number, row["interval"])) if row["interval"] else number(None),
                number(row["fad_infinity"] and row["fad_infinity"]["score"]),
                number(row["floor"]),
                number(row["ceiling"]),
                number(near and near["generated"] / max(near["real"], 1e-12)),
                f"{row['n']} / {row['n_training']}",
                f"{row['training_seconds'] / 3600:.2f}",
                number(row["seconds_a_step"]),
                f"{row['drawing_seconds'] / 3600:.2f}",
            ]
        )
    return header, cells


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def markdown_table(header: list[str], cells: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(
    out: Path,
    title: str,
    warnings: list[str],
    header: list[str],
    cells: list[list[str]],
    picture: Path,
    facts: str,
    notes: dict[str, str],
    rows: list[str],
) -> str:
    """One HTML file that can be sent: pictures and sounds are within it."""
    lines = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>',
        f"<h1>{title}</h1>",
        *(f'<p class="warning">{html.escape(warning)}</p>' for warning in warnings),
        f'<div class="table"><table><tr>{"".join(f"<th>{html.escape(one, quote=False)}</th>" for one in header)}</tr>',
        *(f"<tr>{''.join(f'<td>{html.escape(one, quote=False)}</td>' for one in line)}</tr>" for line in cells),
        "</table></div>",
        f'<p><img alt="Scores with intervals, floor and ceiling" src="{embedded(picture, "image/png")}">',
        f"<p>{html.escape(facts)}</p>",
        *(f"<p><b>{column}</b>: {html.escape(note)}</p>" for column, note in notes.items()),
    ]
    for name in rows:
        folder = out / "rows" / name
        picture = embedded(folder / "spectrograms.png", "image/png")
        lines += [f"<h2>{name}</h2>", f'<img alt="Spectrograms, training and generated" src="{picture}"><br>']
        lines += [
            f'<audio controls src="{embedded(path, "audio/wav")}"></audio>'
            for path in sorted(folder.glob("sample_*.wav"))[:HEARD]
        ]
    return "\n".join([*lines, "</html>", ""])


def embedded(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

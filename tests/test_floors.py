"""The floors of the house: who may import whom, read from the source."""

import ast
from functools import cache
from pathlib import Path

import pytest

import ddim_from_scratch

ROOT = Path(ddim_from_scratch.__file__).parent
# A part knows itself and the floors below it, but nothing that stands beside it; on the top floor, all know all.
FLOORS = (
    {"runtime"},
    {"nn", "diffusion", "audio"},
    {"networks"},
    {"fad", "training"},
    {"spectrogram"},
    {"notes"},  # the paper's system, told what to play
    {"experiments", "systems", "train", "sample", "tune"},
)
FRAMEWORKS = {"tensorflow", "tensorflow_hub", "tf_keras", "keras", "torch", "torchaudio", "diffusers", "jax"}

FILES = sorted(ROOT.rglob("*.py"))


def part(path):
    """The name under the package's root that a file belongs to: nn/fast/conv.py to nn, train.py to train."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


@cache
def imports(path, module_level_only=False):
    """Absolute dotted names of everything a file imports."""
    names = set()
    nodes = [ast.parse(path.read_text(encoding="utf-8"))]
    package = ("ddim_from_scratch", *path.relative_to(ROOT).parent.parts)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            names |= {".".join((*module, alias.name)) for alias in node.names}
        elif not (module_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            nodes.extend(ast.iter_child_nodes(node))
    return names


def parts_known_to(path):
    names = {name.split(".")[1] for name in imports(path) if name.startswith("ddim_from_scratch.")}
    return (names & set().union(*FLOORS)) - {part(path)}


def test_every_module_has_a_floor():
    assert {part(path) for path in FILES} - {"__init__"} == set().union(*FLOORS), "see the list of floors above"


@pytest.mark.parametrize("floor", range(len(FLOORS) - 1))
def test_no_floor_knows_what_stands_beside_or_above_it(floor):
    allowed = set().union(*FLOORS[:floor])
    files = [path for path in FILES if part(path) in FLOORS[floor]]
    known = {(path.relative_to(ROOT).as_posix(), name) for path in files for name in parts_known_to(path)}
    assert {(file, name) for file, name in known if name not in allowed} == set()


@pytest.mark.parametrize(
    ("libraries", "module_level_only", "importers"),
    [
        ({"cupy", "cupyx"}, False, {"backend.py"}),
        ({"mpi4py"}, False, {"mpi.py"}),
        ({"mpi4py"}, True, set()),
        (FRAMEWORKS, True, set()),
        ({"soundfile", "soxr"}, True, set()),  # by the functions that read and write files
        ({"matplotlib.pyplot"}, False, set()),  # its figures and its backend are the user's
        ({"lessons", "tests"}, False, set()),
    ],
    ids=lambda value: ", ".join(sorted(value)) if isinstance(value, set) else "at once" if value else "anywhere",
)
def test_a_library_is_imported_where_it_may_be(libraries, module_level_only, importers):
    prefixes = tuple(f"{name}." for name in libraries)
    found = {p.name for p in FILES if any(f"{n}.".startswith(prefixes) for n in imports(p, module_level_only))}
    assert found == importers


def test_cupyx_is_imported_before_there_are_threads():
    """cupy.get_array_module imports it at its first call: of two threads one meets a module that is half there."""
    assert "cupyx.scipy.fft" in imports(ROOT / "runtime/backend.py", module_level_only=True)

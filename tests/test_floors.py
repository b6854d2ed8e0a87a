"""The floors of the house: who may import whom, read from the source."""

import ast
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


def imports(path, module_level_only=False):
    """Absolute dotted names of everything a file imports."""
    nodes = [ast.parse(path.read_text(encoding="utf-8"))]
    package = ("ddim_from_scratch", *path.relative_to(ROOT).parent.parts)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            yield from (".".join((*module, alias.name)) for alias in node.names)
        elif not (module_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            nodes.extend(ast.iter_child_nodes(node))


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


def test_only_the_backend_imports_cupy():
    importers = {p.name for p in FILES if any(name.split(".")[0] in {"cupy", "cupyx"} for name in imports(p))}
    assert importers == {"backend.py"}


def test_cupyx_is_imported_before_there_are_threads():
    """cupy.get_array_module imports it at its first call: of two threads one meets a module that is half there."""
    assert "cupyx.scipy.fft" in set(imports(ROOT / "runtime/backend.py", module_level_only=True))


def test_only_one_file_imports_mpi4py_and_not_before_it_is_needed():
    assert {p.name for p in FILES if any(name.split(".")[0] == "mpi4py" for name in imports(p))} == {"mpi.py"}
    assert not any(name.startswith("mpi4py") for name in imports(ROOT / "runtime/mpi.py", module_level_only=True))


def test_no_framework_is_imported_with_the_package():
    for path in FILES:
        found = {name.split(".")[0] for name in imports(path, module_level_only=True)} & FRAMEWORKS
        assert not found, f"{path.relative_to(ROOT)} imports {found} on import"


def test_sound_libraries_are_imported_only_by_the_functions_that_read_and_write_files():
    for path in FILES:
        found = {name.split(".")[0] for name in imports(path, module_level_only=True)} & {"soundfile", "soxr"}
        assert not found, f"{path.relative_to(ROOT)} imports {found} on import"


def test_no_file_uses_pyplot():
    """Its figures and its backend are the user's."""
    for path in FILES:
        assert "matplotlib.pyplot" not in set(imports(path)), path


def test_the_package_knows_no_lessons():
    for path in FILES:
        assert not any(name.split(".")[0] in {"lessons", "tests"} for name in imports(path)), path

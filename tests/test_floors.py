"""The floors of the house: who may import whom, read from the source."""

import ast
from pathlib import Path

import pytest

import ddim_from_scratch

ROOT = Path(ddim_from_scratch.__file__).parent
GROUND = {"backend", "tree", "config", "hub", "mpi"}
MIDDLE = {"audio", "nn", "diffusion"}  # each knows the ground and itself
UPPER = {"unet", "optim", "fad"}
TOP = {"datasets", "data", "model", "checkpoint", "guards", "compose", "train", "sample", "tune", "pictures"}
TOP |= {"experiments", "memory", "steps", "table", "table_report", "ablation"}
FRAMEWORKS = {"tensorflow", "tensorflow_hub", "tf_keras", "keras", "torch", "torchaudio", "diffusers", "jax"}

FILES = sorted(ROOT.rglob("*.py"))


def part(path):
    """The name under the package's root that a file belongs to: nn/conv.py to nn, unet.py to unet."""
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
    return (names & (GROUND | MIDDLE | UPPER | TOP)) - {part(path)}


def test_every_module_has_a_floor():
    known = GROUND | MIDDLE | UPPER | TOP
    assert {part(path) for path in FILES} - {"__init__", "__main__"} <= known, "add the new module to a floor above"


@pytest.mark.parametrize("floor", [GROUND, MIDDLE, UPPER], ids=["ground", "middle", "upper"])
def test_no_floor_knows_what_stands_beside_or_above_it(floor):
    allowed = {"ground": GROUND, "middle": GROUND, "upper": GROUND | MIDDLE}[
        {id(GROUND): "ground", id(MIDDLE): "middle", id(UPPER): "upper"}[id(floor)]
    ]
    wrong = {str(p.relative_to(ROOT)): k for p in FILES if part(p) in floor and (k := parts_known_to(p) - allowed)}
    assert not wrong


def test_only_the_backend_imports_cupy():
    importers = {p.name for p in FILES if any(name.split(".")[0] in {"cupy", "cupyx"} for name in imports(p))}
    assert importers == {"backend.py"}


def test_cupyx_is_imported_before_there_are_threads():
    """cupy.get_array_module imports it at its first call: of two threads one meets a module that is half there."""
    assert "cupyx.scipy.fft" in set(imports(ROOT / "backend.py", module_level_only=True))


def test_only_one_file_imports_mpi4py_and_not_before_it_is_needed():
    assert {p.name for p in FILES if any(name.split(".")[0] == "mpi4py" for name in imports(p))} == {"mpi.py"}
    assert not any(name.startswith("mpi4py") for name in imports(ROOT / "mpi.py", module_level_only=True))


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


def test_samplers_know_no_network():
    for path in (ROOT / "diffusion").glob("*.py"):
        assert not any(".nn" in name or ".unet" in name for name in imports(path))


def test_the_package_knows_no_lessons():
    for path in FILES:
        assert not any(name.split(".")[0] in {"lessons", "tests"} for name in imports(path)), path

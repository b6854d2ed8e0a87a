"""What the README and bench/gpu.sh name: commands, options, targets, files and packages."""

import importlib
import importlib.metadata
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = re.sub("pip install[^`\n]*", "", (ROOT / "README.md").read_text())  # its options are not ours
COMMANDS = sorted(set(re.findall(r"python -m (ddim_from_scratch[.\w]+) ([^\n#`]*)", README)))


def help_of(module, words, capsys):
    """What a command prints for --help."""
    try:
        main = importlib.import_module(f"{module}.__main__").main
    except ModuleNotFoundError:
        main = importlib.import_module(module).main
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("module", "arguments"), COMMANDS, ids=lambda text: text.split(".")[-1].strip())
def test_commands_and_their_options_exist(module, arguments, capsys):
    words = arguments.split()
    band = ["--system", "notes"] if "--notes" in words else []  # as its run would say
    shown = help_of(module, [*words, *band], capsys)
    assert not [word for word in words if word.startswith("--") and word not in shown]


def test_options_in_the_text_exist(capsys):
    shown = "".join(help_of(module, arguments.split(), capsys) for module, arguments in COMMANDS) + "--help"
    assert not {word for word in re.findall(r"--[a-z][a-z-]*", README) if word not in shown}


def test_targets_and_files_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z]+-?)", README, re.MULTILINE):
        assert re.search(rf"^{target}%?:", makefile, re.MULTILINE), target
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_gpu_script_names_each_package_that_the_machine_needs():
    """Without a network a package that nobody brought along ends the only call."""
    needed = [line for line in importlib.metadata.requires("ddim_from_scratch") if "extra ==" not in line]
    script = (ROOT / "bench" / "gpu.sh").read_text().lower()
    names = [re.match(r"[\w-]+", line)[0] for line in needed]
    assert names and not [name for name in names if not re.search(rf"\b{name}\b", script)]

"""The house rules, read from the source: a room imports only what lies below it, and some doors stay shut."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import framework

PACKAGE = Path(framework.__file__).parent
FLOORS = [
    ["commands"],
    ["serving", "sweeps"],
    ["training"],
    ["exports", "inspection"],
    ["evaluation"],
    ["features"],
    ["model"],
    ["parts"],
    ["data"],
    ["config", "reports"],
    ["core"],
]
FLOOR = {room: len(FLOORS) - number for number, rooms in enumerate(FLOORS) for room in rooms}
CONFIG_LIBRARIES = {"hydra", "omegaconf"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    inside = file.relative_to(PACKAGE).parts
    if inside == ("__init__.py",):
        return "core"
    return inside[0] if len(inside) > 1 else "commands"


def imports(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def test_every_folder_is_a_known_room():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(FLOOR) - {"commands"} | {"conf", "recipes"}


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(file):
    room = room_of(file)
    for name in imports(file):
        parts = name.split(".")
        if parts[0] != "framework" or len(parts) < 2 or parts[1] == "__version__":
            continue
        target = parts[1] if (PACKAGE / parts[1]).is_dir() else "commands"
        if target != room:
            assert FLOOR[target] < FLOOR[room], f"{file} is in {room} and imports {name}"
        else:
            assert room != "commands", f"{file} imports another command: {name}"


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_config_knows_hydra_and_only_backend_loads_tensorflow(file):
    names = {name.split(".")[0] for name in imports(file)}
    if room_of(file) != "config":
        assert not names & CONFIG_LIBRARIES
    assert file.stem not in sys.stdlib_module_names or file.stem in ("__init__",) or file.parent != PACKAGE


@pytest.mark.parametrize(
    "room",
    [
        "framework.train",
        "framework.check",
        "framework.show",
        "framework.recipe",
        "framework.plan",
        "framework.training.preflight",
        "framework.parts",
    ],
)
def test_what_answers_fast_never_loads_tensorflow(room):
    code = f"import sys, {room}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

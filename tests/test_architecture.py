"""The house rules, read from the source: a room imports only what lies below it, and some doors stay shut."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import framework

PACKAGE = Path(framework.__file__).parent
FLOORS = [
    ["commands"],
    ["api"],
    ["cli"],
    ["budget"],
    ["serving", "sweeps"],
    ["runs"],
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
# where private names of a library may stand: all of a module, or these alone, each with why there is no public way
PRIVATE_NAMES = {
    "framework.core.keras_private": None,
    "framework.config.hydra_private": None,
    "framework.core.keras_hub_private": None,
    "framework.doctor": {"_replace"},  # public, of named tuples
    "framework.runs.workers": {"_exit"},  # public, of os: an end without what TensorFlow would wait for
    "framework.sweeps.processes": {"_clear", "_run_exitfuncs"},  # atexit's, as Python 3.13 does by itself
    "framework.core.ray_cluster": {
        "_private",
        "_worker_logs_enabled",
    },  # Ray's: no option keeps its words from standard output
    "framework.sweeps.study": {"_trial_id"},  # Optuna's: a heartbeat is recorded by it
}
PRIVATE = re.compile(r"(^|\.)_(?!_)|^keras\.src\b")
CONFIG_LIBRARIES = {"hydra", "omegaconf"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    inside = file.relative_to(PACKAGE).parts
    if inside == ("__init__.py",):
        return "api"  # its door
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


def private_names(file: Path) -> set[str]:
    """Private names of others that a file uses: of modules, and attributes that it does not define itself."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    own, used = set(), {name for name in imports(file) if not name.startswith("framework.")}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute):
            of_itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            (own if of_itself else used).add(node.attr)
        elif isinstance(node, ast.keyword):
            used.add(node.arg or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
            used.add(str(getattr(node.args[1], "value", "")))
        elif isinstance(node, ast.Constant) and str(node.value).startswith("keras.src"):
            used.add(node.value)
    return {name for name in used - own if PRIVATE.search(name)}


def imported_when_read(file: Path) -> set[str]:
    """Modules that importing this one imports: not those within functions or for type checks alone."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(name.name for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                found.update({str(child.module), *(f"{child.module}.{name.name}" for name in child.names)})
            elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not (
                isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            ):
                visit(child)

    visit(ast.parse(file.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_private_names_of_a_library_stand_in_one_module(file):
    allowed = PRIVATE_NAMES.get(".".join(("framework", *file.relative_to(PACKAGE).with_suffix("").parts)), set())
    assert allowed is None or private_names(file) == allowed


def test_private_names_are_seen(tmp_path):
    for line in (
        "import keras.src.ops",
        "from hydra._internal.utils import x",
        "getattr(m, '_nodes')",
        "f(_a=1)",
        "m._a",
    ):
        (tmp_path / "file.py").write_text(f"def f(self, m, _b):\n    self._c, _b.d = m.e, self._f\n    {line}\n")
        assert len(private_names(tmp_path / "file.py")) == 1, line


def test_every_folder_is_a_known_room():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(FLOOR) - {"commands"} | {"conf", "recipes"}


def test_every_room_has_its_tests():
    for room in set(FLOOR) - {"commands"}:
        assert list((Path(__file__).parent / room).glob("test_*.py")), room


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
def test_only_config_and_the_command_line_know_hydra(file):
    names = {name.split(".")[0] for name in imports(file)}
    assert room_of(file) in ("config", "cli") or not names & CONFIG_LIBRARIES


def name_of(file: Path) -> str:
    return ".".join(("framework", *file.relative_to(PACKAGE).with_suffix("").parts))


def needs_keras(file: Path) -> bool:
    """Whether reading the module needs Keras: it defines classes of Keras's, or decorates by it."""
    classes = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    return any("keras." in ast.unparse(one) for node in classes for one in (*node.bases, *node.decorator_list))


NEED_KERAS = {name_of(file) for file in modules() if needs_keras(file)}


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_backend_loads_tensorflow(file):
    """Modules that define Keras classes need Keras when they are read; nobody reads them before it is loaded."""
    if name_of(file) in NEED_KERAS:
        return
    read = imported_when_read(file)
    assert not {module.split(".")[0] for module in read} & {"tensorflow", "keras"}
    assert not read & NEED_KERAS


def test_some_modules_need_keras_when_they_are_read():
    assert {"framework.parts.checkpoint_class", "framework.parts.layers", "framework.features.stand_ins"} <= NEED_KERAS


def test_no_command_is_called_like_a_module_of_python():
    assert not {file.stem for file in PACKAGE.glob("*.py")} - {"__init__", "__main__"} & sys.stdlib_module_names


@pytest.mark.parametrize(
    "room",
    [
        "framework.train",
        "framework.check",
        "framework.show",
        "framework.recipe",
        "framework.plan",
        "framework.runs.preflight",
        "framework.parts",
    ],
)
def test_what_answers_fast_never_loads_tensorflow(room):
    code = f"import sys, {room}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

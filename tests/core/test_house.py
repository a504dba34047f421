"""The house: what imports what, how large its parts are, what loads when, and what a wheel holds."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "xaimed_core": ROOT / "xaimed_core",
    "xaimed_kernels": ROOT / "kernels" / "xaimed_kernels",
    "xaimed_reports": ROOT / "reports" / "xaimed_reports",
    "xaimed_bench": ROOT / "bench" / "xaimed_bench",
}
TESTS = ROOT / "tests"
MAY_IMPORT = {
    "xaimed_core": {"xaimed_core", "xaimed_kernels"},
    "xaimed_bench": {"xaimed_bench", "xaimed_core", "xaimed_kernels", "xaimed_reports"},
    "xaimed_kernels": {"xaimed_kernels"},
    "xaimed_reports": {"xaimed_reports"},
}


FLOORS = {
    "xaimed_bench": (
        ("data", "device", "checkpoint_files", "tensor_files", "checkpoints", "progress"),
        ("models", "weights", "networks"),
        ("measure",),
        ("profile", "trial", "study", "doctor", "bench_options", "questions", "running"),
        ("cli",),
        ("__main__",),
    ),
    "xaimed_core.tail": (
        ("interface", "record"),
        ("rerun", "carry"),
        ("plan",),
        ("run",),
        ("selfcheck",),
        ("decide",),
        ("observer",),
    ),
}
"""Rooms and single files, from the ground up: none imports from a floor above its own."""


def imported_by(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package):
    files = list(PACKAGES[package].rglob("*.py"))
    assert files
    ours = {*PACKAGES, "tests"}
    wrong = {
        str(file.relative_to(ROOT)): sorted(upwards)
        for file in files
        if (upwards := (imported_by(file) & ours) - MAY_IMPORT[package])
    }
    assert wrong == {}


def inner_imports(house: str) -> list[tuple[str, str]]:
    """(room, room it imports from) of every import inside a package; what stands above the rooms is "__init__"."""
    package, *inner = house.split(".")
    folder = PACKAGES[package].joinpath(*inner)
    found: list[tuple[str, str]] = []
    for file in folder.rglob("*.py"):
        room = file.relative_to(folder).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            if names == [house]:
                names = [f"{house}.{alias.name}" for alias in node.names]
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [
                (room, name[len(house) + 1 :].split(".")[0]) for name in names if name.startswith(f"{house}.")
            ]
    return found


@pytest.mark.parametrize("house", FLOORS)
def test_no_import_climbs(house):
    floor = {room: i for i, rooms in enumerate(FLOORS[house]) for room in rooms}
    imports = [pair for pair in inner_imports(house) if pair[0] != "__init__"]
    assert len(imports) > 40
    assert {room for pair in imports for room in pair} <= set(floor), "a new room needs a floor"
    assert [pair for pair in imports if floor[pair[0]] < floor[pair[1]]] == []


LONGEST_FILE, LONGEST_FUNCTION, FULLEST_FOLDER = 300, 45, 12


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From the first statement to the end: what says how to call it, signature and docstring, may be long."""
    first = function.body[min(ast.get_docstring(function) is not None, len(function.body) - 1)]
    return (function.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("folder", [*PACKAGES.values(), TESTS], ids=lambda folder: folder.name)
def test_no_file_and_no_function_is_long(folder):
    """A file's lines all count; of a function those from its first statement on (see `lines_of_code`)."""
    files = {file: file.read_text() for file in folder.rglob("*.py")}
    assert files
    assert [str(file) for file, text in files.items() if len(text.splitlines()) > LONGEST_FILE] == []
    long = [
        f"{file}: {node.name}, {lines_of_code(node)} lines"
        for file, text in files.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of_code(node) > LONGEST_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("house", ["xaimed_reports", "xaimed_bench"])
def test_texts_reach_a_terminal_by_say_alone(house):
    """Which lets nothing of a name or a file steer it."""
    printing = [
        file.name
        for file in PACKAGES[house].rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == (["format.py"] if house == "xaimed_reports" else [])


def test_no_folder_is_full():
    """More than twelve files, `__init__` not counted, are divided into rooms."""
    tops = (*PACKAGES.values(), TESTS)
    folders = [
        folder for top in tops for folder in (top, *(path for path in top.rglob("*") if path.is_dir()))
    ]
    full = {
        str(folder.relative_to(ROOT))
        for folder in folders
        if len(list(folder.glob("[!_]*.py"))) > FULLEST_FOLDER and not list(folder.glob("*/*.py"))
    }
    assert full == set()


def test_reports_need_no_torch():
    wrong = [
        f
        for f in PACKAGES["xaimed_reports"].rglob("*.py")
        if imported_by(f) & {"torch", "torchvision", "triton"}
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ["kernels", "reports", "bench", "tests"])
def test_containers_are_not_packages(folder):
    assert not (ROOT / folder / "__init__.py").exists()


HEAVY = {"triton", "PIL", "scipy", "rich", "numba", "matplotlib", "jinja2", "torchvision", "pytest"}
"""What a program that only explains must not wait for."""

A_NETWORK = (
    "from torch import nn; from xaimed_core import explain\n"
    "net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))\n"
)


def modules_after(statement: str) -> set[str]:
    """Names in sys.modules of a fresh process, beyond those that torch itself brings."""
    code = f"import sys, torch; before = set(sys.modules)\n{statement}\nprint(*(set(sys.modules) - before))"
    paths = [str(ROOT), *(str(p.parent) for p in PACKAGES.values())]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def loaded_after(statement: str) -> set[str]:
    """The top-level ones among `modules_after`."""
    return {name.split(".")[0] for name in modules_after(statement)}


def test_importing_the_library_loads_nothing_heavy():
    loaded = loaded_after("import xaimed_core")
    assert "xaimed_core" in loaded
    assert loaded & HEAVY == set()


def test_explain_loads_at_most_thirty_modules_and_nothing_heavy():
    modules = modules_after("import xaimed_core; xaimed_core.explain")
    own = sorted(name for name in modules if name.split(".")[0] in PACKAGES)
    assert "xaimed_core.engine" in own
    assert len(own) <= 30, own
    assert {name.split(".")[0] for name in modules} & HEAVY == set()


@pytest.mark.parametrize(("method", "loads"), [("xgradcam", False), ("ablationcam", True)])
def test_the_tail_loads_only_for_ablationcam(method, loads):
    modules = modules_after(f"{A_NETWORK}explain(net, torch.randn(1, 3, 9, 9), {method!r}, '0')")
    assert ("xaimed_core.tail" in modules) is loads


def test_a_cpu_explanation_needs_no_triton():
    loaded = loaded_after(
        f"{A_NETWORK}explain(net, torch.randn(1, 3, 9, 9), ('xgradcam', 'eigengradcam', 'ablationcam'), '0')"
    )
    assert "xaimed_kernels" in loaded
    assert "triton" not in loaded


def test_a_wheel_holds_the_four_packages_and_nothing_else(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    shipped = {name for name in names if name.endswith(".py")}
    for package, folder in PACKAGES.items():
        assert {f"{package}/{f.relative_to(folder).as_posix()}" for f in folder.rglob("*.py")} <= shipped

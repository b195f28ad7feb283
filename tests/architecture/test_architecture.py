"""The house keeps its order: imports point down, an engine is one room, thresholds are one table."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_ridge import numerics

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "parallel_ridge"
# From the ground up: a room imports rooms before it only.
ROOMS = [
    "numerics", "exceptions", "progress", "kernels", "threads", "sources", "statistics", "reductions",
    "streams", "backends", "solvers", "caching", "folding", "fitting", "model_selection", "estimators",
    "pipelines",
    "datasets", "plotting", "mpi", "spark", "torch", "onnx", "versions",
]  # fmt: skip
ENGINES = ("mpi", "spark", "torch")
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path):
    """Modules of the package that a file imports, wherever in it, and the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} imports relative to itself"
            if node.module == "parallel_ridge":
                yield from ((f"parallel_ridge.{name.name}", node.lineno) for name in node.names)
            elif node.module.startswith("parallel_ridge."):
                yield from ((f"{node.module}.{name.name}", node.lineno) for name in node.names)
        elif isinstance(node, ast.Import):
            names = (name.name for name in node.names)
            yield from ((n, node.lineno) for n in names if n.startswith("parallel_ridge."))


def test_every_module_has_a_room():
    assert {room_of(path) for path in FILES} == {*ROOMS, "__init__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    room = room_of(path)
    if room == "__init__":
        return
    for name, line in imported(path):
        other = name.split(".")[1]
        assert ROOMS.index(other) <= ROOMS.index(room), f"{path}:{line}: {room} imports {name}"
        if other != room and name.count(".") > 1:
            private = [part for part in name.split(".")[2:] if part.startswith("_")]
            kernels = other == "kernels"  # whose modules are the compiled ones
            assert not private or kernels, f"{path}:{line}: {name} is private to its room"


def without_docstrings(path):
    """The code of a file, comments too, but for docstrings."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            first = node.body[0]
            lines[first.lineno - 1 : first.end_lineno] = [""] * (
                first.end_lineno - first.lineno + 1
            )
    return "\n".join(lines)


def test_the_core_names_no_engine():
    registry = PACKAGE / "backends" / "__init__.py"
    core = ROOMS[: ROOMS.index("datasets")]
    for path in (path for path in FILES if room_of(path) in core):
        code = without_docstrings(path)
        found = [
            line
            for line in code.splitlines()
            if re.search(r"spark|mpi\b|torch", line, re.IGNORECASE)
        ]
        expected = len(ENGINES) if path == registry else 0  # a line for each
        assert len(found) == expected, (path, found)


def test_the_backend_of_the_page_imports_documented_names():
    reference = (ROOT / "docs" / "api.md").read_text()
    for node in ast.parse((ROOT / "docs" / "dask_backend.py").read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("parallel_ridge"):
            for name in node.names:
                full = f"{node.module}.{name.name}".removeprefix("parallel_ridge.")
                assert f"   {full}\n" in reference, full


def test_all_files_are_installed():
    listed = (PACKAGE / "meson.build").read_text()
    found = {}
    for room, names in re.findall(r"'(\w*)': \[([^\]]*)\]", listed):
        found[room] = set(re.findall(r"'([\w.]+)'", names))
    expected = {}
    for path in FILES:
        folder = path.parent.relative_to(PACKAGE).as_posix().replace(".", "")
        if folder != "kernels":
            expected.setdefault(folder, set()).add(path.name)
    expected[""].add("py.typed")
    assert found == expected


def test_files_of_tests_are_short():
    long = {
        path.name: n
        for path in (ROOT / "tests").rglob("*.py")
        if (n := len(path.read_text().splitlines())) > 600
    }
    assert not long


# ------------------------------------------------------------------------------------------------
# Numerical policy
# ------------------------------------------------------------------------------------------------


def constants():
    """Names of the table, with the text beside each."""
    text = (PACKAGE / "numerics.py").read_text()
    body = ast.parse(text).body
    found, names = {}, []
    for node in body:
        if isinstance(node, ast.Assign) and node.targets[0].id.isupper():
            names.append(node.targets[0].id)
            continue
        if isinstance(node, ast.AnnAssign):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found |= dict.fromkeys(names, node.value.value)
        names = []  # only text that follows at once
    return found


def is_threshold(name):
    return name.isupper() and len(name) > 1 and name != "EPSILON"


def test_each_threshold_says_what_it_is():
    described = constants()
    names = [name for name in vars(numerics) if is_threshold(name)]
    assert set(names) <= set(described)
    assert all(len(described[name]) > 40 for name in names)


PAGE = (ROOT / "docs" / "numerics.md").read_text()
# Rows of the page's table: (name, key or None).
QUOTES = [
    (match.group(1), match.group(2), match.group(3))
    for match in re.finditer(r"\| `([A-Z][A-Z0-9_]*)`(?: \(([^)|]+)\))? \| ([^|]+) \|", PAGE)
]


def test_the_page_quotes_every_threshold():
    names = {name for name in vars(numerics) if is_threshold(name)}
    assert {name for name, _, _ in QUOTES} == names


@pytest.mark.parametrize(("name", "key", "text"), QUOTES)
def test_the_page_quotes_thresholds_as_they_are(name, key, text):
    value = getattr(numerics, name)
    if key is not None:
        value = value[int(key) if key.isdigit() else key]
    values = value if isinstance(value, tuple) else (value,)
    numbers = [evaluate(part) for part in re.split(r" to ", text.strip())]
    assert numbers == pytest.approx(list(values), rel=0.02)


def evaluate(text):
    """The number that a text such as ``8 eps``, ``2^-24`` or ``2.3e-2`` means."""
    text = text.strip().strip("`").replace(",", "").replace("^", "**")
    text = re.sub(r"(?<=[\d)]) (?=eps|sqrt)", " * ", text).replace("eps", repr(numerics.EPSILON))
    text = re.sub(r"sqrt\((\d+)\)", r"\1**0.5", text)
    assert re.fullmatch(r"[\d.e*/+\- ()]+", text), text
    return float(eval(text))


def test_the_import_loads_no_optional_package():
    optional = {"dask", "duckdb", "h5py", "matplotlib", "mpi4py", "polars", "pyarrow", "pyspark"}
    optional |= {"torch", "tqdm", "zarr"}
    # scikit-learn loads some of them itself where they are.
    code = "import sys, sklearn.linear_model, sklearn.model_selection; before = set(sys.modules); "
    code += f"import parallel_ridge; print(({optional} & set(sys.modules)) - before)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"

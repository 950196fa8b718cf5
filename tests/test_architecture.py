"""ARCHITECTURE.md says which way imports go; the code is held to what it says."""

import ast
import functools
import graphlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
FLOORS = {
    room: int(floor)
    for floor, room in re.findall(r"^\| (\d+) \| `([^`]+)` \|", TEXT, re.MULTILINE)
}
TOPS = ("helix_jax", "experiments", "launch", "benchmarks")


def read_modules(root: Path) -> dict[str, str]:
    """Module name -> source, of all modules of TOPS."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path.read_text()
        for top in TOPS
        for path in sorted((root / top).rglob("*.py"))
    }


@functools.cache
def import_statements(source: str) -> list[ast.Import | ast.ImportFrom]:
    """Those of a text, wherever in it they stand."""
    return [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def imports_of(module: str, modules: Mapping[str, str]) -> Iterator[str]:
    """The modules that one imports."""
    for node in import_statements(modules[module]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert node.level == 0, f"{module} has a relative import"
            names = [
                inner
                if (inner := f"{node.module}.{alias.name}") in modules
                else node.module
                for alias in node.names
            ]
        yield from (name for name in names if name in modules)


def room_of(module: str) -> str:
    """The room of a module; files that lie in helix_jax itself are one room."""
    path = module.replace(".", "/")
    inside = [room for room in FLOORS if f"{path}/".startswith(f"{room}/")]
    return max(inside, key=len)


def upward_imports(modules: Mapping[str, str]) -> list[str]:
    """Imports that go to another room of the same floor, or of a higher one."""
    return [
        f"{module} ({room_of(module)}) imports {other} ({room_of(other)})"
        for module in modules
        for other in imports_of(module, modules)
        if room_of(other) != room_of(module)
        and FLOORS[room_of(other)] >= FLOORS[room_of(module)]
    ]


MODULES = read_modules(ROOT)
PROGRAMS = {
    module
    for module, source in MODULES.items()
    if module.count(".") == 1
    and module.startswith("experiments.")
    and "\nif __name__ ==" in source
}


def test_the_rooms_are_those_that_there_are():
    packages = {
        path.parent.relative_to(ROOT).as_posix()
        for top in ("helix_jax", "experiments")
        for path in (ROOT / top).glob("*/__init__.py")
    }
    assert packages - {"experiments/claims"} | set(TOPS) == set(FLOORS)


@pytest.mark.slow
def test_imports_go_downwards_only():
    assert upward_imports(MODULES) == []


@pytest.mark.parametrize(
    ("module", "line", "named"),
    [
        ("helix_jax.text.tokens", "import helix_jax.activations", "activations"),
        ("helix_jax.stats.exact", "from helix_jax import assets", "assets"),
        ("helix_jax.errors", "    from helix_jax.stats import Interval", "stats"),
        ("experiments.shared.about", "from experiments import fit", "experiments.fit"),
    ],
)
def test_an_import_that_goes_upwards_is_found(module, line, named):
    planted = f"{MODULES[module]}\nif 1:\n    {line.strip()}\n"
    (found,) = upward_imports({**MODULES, module: planted})
    assert found.startswith(f"{module} (")
    assert named in found


def test_modules_do_not_import_each_other_in_circles():
    graph = {module: set(imports_of(module, MODULES)) for module in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_every_file_of_experiments_is_a_program():
    files = {f"experiments.{path.stem}" for path in (ROOT / "experiments").glob("*.py")}
    assert files - PROGRAMS == {"experiments.__init__"}
    assert len(PROGRAMS) > 20


def test_only_programs_that_run_others_import_them():
    (line,) = re.findall(r"^Programs that run others: (.*)$", TEXT, re.MULTILINE)
    runners = {
        module
        for module in MODULES
        if module.startswith("experiments.")
        and PROGRAMS & set(imports_of(module, MODULES))
    }
    named = {f"experiments.{name}" for name in re.findall(r"`(\w+)`", line)}
    assert {re.sub(r"\.claims\..*", ".claims", name) for name in runners} == named


def test_one_module_alone_puts_files_in_place():
    replacing = {
        module
        for module, source in MODULES.items()
        if re.search(r"\bos\.(replace|rename|renames)\(|\bshutil\.move\(", source)
    }
    assert replacing == {"helix_jax.atomic"}


def test_documents_that_are_cited_are_in_the_repository():
    files = [path for top in (*TOPS, "docs") for path in (ROOT / top).rglob("*.*")]
    files += ROOT.glob("*.md")
    cited = {
        (path, name)
        for path in files
        if path.suffix in (".py", ".md")
        for name in re.findall(
            r"(?<![\w/.])(?:docs/)?[A-Z]{4,}\.md\b|docs/\w+\.md", path.read_text()
        )
    }
    assert len(cited) > 8
    assert not [
        (path.name, name)
        for path, name in cited
        if not any((place / name).is_file() for place in (ROOT, path.parent))
    ]

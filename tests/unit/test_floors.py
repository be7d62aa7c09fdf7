"""The house has floors; imports go down."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "dupe_audit"

FLOORS = {
    "fact": "model errors findings checked watched",
    "tool": "statements driver planner session catalog ledger children staging watchdog progress index render"
    " render_check render_ci render_watch connect embedded operations revisions offline autogenerate foreign_keys",
    "step": "preflight cleanup constraint verify restore writer",
    "door": "cli ops checks consumer demo",
}
FLOOR = {module: floor for floor, modules in FLOORS.items() for module in modules.split()}
NEIGHBOURS = {"fact", "tool"}  # floors whose modules may import one another
EXCEPTIONS = {("cli", "demo"), ("cli", "consumer"), ("cli", "checks")}  # the command line opens them


def module_of(path: Path) -> str:
    """Return the name on the floor plan: statements/loader.py belongs to `statements`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def on(*floors: str) -> list[Path]:
    """Return the files that live on these floors."""
    return [path for path in SOURCES if FLOOR.get(module_of(path)) in floors]


def imports(path: Path) -> Iterator[str]:
    """Yield the absolute name of everything a file imports, at its top or inside a function."""
    package = ("dupe_audit", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*above, *([node.module] if node.module else [])])
            if source == "dupe_audit":
                yield from (f"{source}.{alias.name}" for alias in node.names)
            else:
                yield source


def may_import(importer: str, imported: str) -> bool:
    """Tell whether one module of ours may import another."""
    order = list(FLOORS)
    mine, theirs = FLOOR[importer], FLOOR[imported]
    if importer == imported or (importer, imported) in EXCEPTIONS:
        return True
    return order.index(theirs) < order.index(mine) or (mine == theirs and mine in NEIGHBOURS)


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_every_module_has_a_floor(path):
    """A module that is on no floor has to be given one before it is merged."""
    assert module_of(path) in FLOOR, f"{path.name}: find its floor"


@pytest.mark.parametrize("path", on(*FLOORS), ids=module_of)
def test_imports_go_down(path):
    """A module imports its own package from lower floors only."""
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("dupe_audit.")}
    unknown = ours - FLOOR.keys()
    assert not unknown, f"{path.name} imports {sorted(unknown)}: find its floor"

    wrong = sorted(name for name in ours if not may_import(module_of(path), name))
    assert not wrong, f"{path.name} is a {FLOOR[module_of(path)]} and imports {wrong}"


@pytest.mark.parametrize("path", on("fact"), ids=module_of)
def test_facts_need_only_the_standard_library(path):
    """The facts can be read without Alembic, SQLAlchemy or a driver installed."""
    roots = {name.split(".")[0] for name in imports(path)} - {"dupe_audit"}
    assert roots <= sys.stdlib_module_names

"""Imports point up the pipeline only, and what must stay light stays light (docs/design.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nanobind.stubgen
import pytest

import tersor
import tersor._core

PACKAGE = Path(tersor.__file__).parent

REFERENCE_READER = Path(__file__).parent / "reference_reader"

# A part may import parts of its own number or a lower one. A part is a module or a folder of src/tersor.
LAYERS = {
    0: {"_hook", "errors", "process", "registry", "types"},
    1: {"codec", "corpus", "history", "layouts", "npy", "output", "sources"},
    2: {"archive", "lowrank", "prune", "quant", "recipe"},
    3: {"calibrate", "load", "runtime", "tasks"},
    4: {"packing", "pipeline", "planner", "recovery", "structured"},
    5: {"bench", "evaluate", "finetune", "methods", "report"},
    6: {"hf"},
    7: {"cli"},
}
LAYER_OF = {part: layer for layer, parts in LAYERS.items() for part in parts}
NUMPY_ONLY = {"archive", "codec", "layouts", "sources"}
MAY_CALL_CORE = {
    "archive",
    "bench",
    "codec",
    "layouts",
    "prune",
    "quant",
}  # archive: CRC-32C alone; bench: isa()
HEAVY = {"torch", "transformers", "accelerate"}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported(node: ast.AST) -> list[str]:
    """Full dotted names that an import statement may load; [] for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + f"{node.module}.{alias.name}" for alias in node.names]
    return []


def parts_imported(path: Path) -> set[str]:
    """Parts of tersor that the file imports anywhere, inside functions too."""
    names = [name for node in ast.walk(ast.parse(path.read_text())) for name in imported(node)]
    assert not any(name.startswith(".") for name in names), "relative import; write the full name"
    return {name.split(".")[1] for name in names if name.startswith("tersor.")}


def run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not in functions, not under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from run_at_import(node)


def test_every_part_has_a_layer() -> None:
    parts = {part_of(path) for path in MODULES}
    assert sorted(parts - set(LAYER_OF)) == [], "give the new part a number in LAYERS"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_to_the_same_layer_or_a_lower_one(path: Path) -> None:
    here = part_of(path)
    above = {
        part: LAYER_OF[part]
        for part in parts_imported(path) - {"_core", "__version__"}
        if LAYER_OF[part] > LAYER_OF[here]
    }
    assert above == {}, f"{module_name(path)} is of layer {LAYER_OF[here]}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_compiled_core_is_called_by_few(path: Path) -> None:
    assert "_core" not in parts_imported(path) or part_of(path) in MAY_CALL_CORE


@pytest.mark.parametrize("path", [p for p in MODULES if part_of(p) in NUMPY_ONLY], ids=module_name)
def test_reading_needs_numpy_only(path: Path) -> None:
    nodes = run_at_import(ast.parse(path.read_text()))
    loaded = {name.split(".")[0] for node in nodes for name in imported(node)}
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("path", sorted(REFERENCE_READER.rglob("*.py")), ids=lambda path: str(path.stem))
def test_reference_reader_knows_the_document_only(path: Path) -> None:
    """It proves that docs/format.md is complete, so it may use the standard library, numpy and itself."""
    nodes = ast.walk(ast.parse(path.read_text()))
    loaded = {name.split(".")[0] for node in nodes for name in imported(node)}
    assert loaded - {*sys.stdlib_module_names, "numpy", "reference_reader", ""} == set()


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in sys.modules after `statement` ran in a fresh interpreter."""
    code = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_tersor_is_light() -> None:
    assert loaded_after("import tersor") & (HEAVY | {"numpy", "rich", "click"}) == set()


@pytest.mark.parametrize("part", sorted(NUMPY_ONLY))
def test_import_of_a_reading_part_loads_nothing_heavy(part: str) -> None:
    assert loaded_after(f"import tersor.{part}") & HEAVY == set()


def test_stub_says_what_the_compiled_module_holds() -> None:
    generator = nanobind.stubgen.StubGen(module=tersor._core, quiet=True)
    generator.put(tersor._core)
    stub = (PACKAGE / "_core.pyi").read_text()
    assert stub == generator.get(), "run: sh tools/build.sh"

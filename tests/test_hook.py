"""`after_import` imports one module right after another, whoever imports that one and whenever."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tersor._hook import after_import


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path; modules imported from it and finders added meanwhile are gone afterwards."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    importlib.invalidate_caches()


def test_target_is_imported_after_the_trigger_not_before(folder: Path) -> None:
    write(folder, hooked_trigger="value = 1", hooked_target="from hooked_trigger import value as seen")
    after_import("hooked_trigger", "hooked_target")
    assert not {"hooked_trigger", "hooked_target"} & set(sys.modules)
    importlib.import_module("hooked_trigger")
    assert sys.modules["hooked_target"].seen == 1


def test_target_is_imported_at_once_when_the_trigger_is_loaded(folder: Path) -> None:
    write(folder, hooked_trigger="", hooked_target="")
    importlib.import_module("hooked_trigger")
    after_import("hooked_trigger", "hooked_target")
    assert "hooked_target" in sys.modules


def test_looking_for_the_trigger_imports_nothing_and_keeps_waiting(folder: Path) -> None:
    write(folder, hooked_trigger="", hooked_target="")
    after_import("hooked_trigger", "hooked_target")
    assert importlib.util.find_spec("hooked_trigger") is not None
    assert "hooked_target" not in sys.modules
    importlib.import_module("hooked_trigger")
    assert "hooked_target" in sys.modules


def test_trigger_keeps_its_own_loader_and_source(folder: Path) -> None:
    write(folder, hooked_trigger="def f():\n    return 1\n", hooked_target="")
    finders = len(sys.meta_path)
    after_import("hooked_trigger", "hooked_target")
    module = importlib.import_module("hooked_trigger")
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    assert inspect.getsource(module.f) == "def f():\n    return 1\n"
    assert len(sys.meta_path) == finders


def test_target_that_cannot_be_imported_warns_and_leaves_the_trigger_usable(folder: Path) -> None:
    write(folder, hooked_trigger="value = 1", hooked_target="import no_such_module_anywhere")
    after_import("hooked_trigger", "hooked_target")
    with pytest.warns(
        RuntimeWarning, match="hooked_target: not usable beside hooked_trigger: No module named"
    ):
        module = importlib.import_module("hooked_trigger")
    assert module.value == 1


@pytest.mark.parametrize("imports", ["tersor, transformers", "transformers, tersor"])
def test_hf_hook_is_imported_when_transformers_loads_its_models(imports: str) -> None:
    code = (
        f"import {imports}, sys; assert 'tersor.hf' not in sys.modules; "
        "from transformers import PreTrainedModel; assert 'tersor.hf' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_a_module_does_not_hide_the_function_of_its_name() -> None:
    code = "import tersor, tersor.load, tersor.evaluate; assert callable(tersor.load) and callable(tersor.evaluate)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_resolves() -> None:
    tersor = importlib.import_module("tersor")
    assert [name for name in tersor.__all__ if not hasattr(tersor, name)] == []
    with pytest.raises(AttributeError, match="module 'tersor' has no attribute 'pakc'"):
        _ = tersor.pakc

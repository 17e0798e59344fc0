"""Import one module as soon as another one has been imported by someone else, without importing that one."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader
else:  # importlib.abc takes 8 ms to import, half of `import tersor`; its methods suffice.
    Loader = object


def after_import(trigger: str, target: str) -> None:
    """Import `target` right after `trigger`: now if `trigger` is loaded, else at the end of its first import.

    Guarantee: `trigger` is not imported by this call, and keeps its own loader once it is loaded.
    If `target` cannot be imported, `trigger` stays usable and a RuntimeWarning says why.
    """
    if trigger in sys.modules:
        _import_or_warn(trigger, target)
    else:
        sys.meta_path.insert(0, _Waiting(trigger, target))


def _import_or_warn(trigger: str, target: str) -> None:
    try:
        import_module(target)
    except ImportError as exc:
        warnings.warn(
            f"{target}: not usable beside {trigger}: {exc}; tersor archives will not open through it; "
            "install the versions that `pip install 'tersor[torch]'` names",
            RuntimeWarning,
            stacklevel=2,
        )


class _Waiting:
    """Finds nothing but `trigger`, and makes its loader import `target` afterwards."""

    def __init__(self, trigger: str, target: str) -> None:
        self._trigger = trigger
        self._target = target

    def done(self) -> None:
        """Stop waiting and import `target`. Not in find_spec: a spec may be asked for without an import."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        _import_or_warn(self._trigger, self._target)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._trigger:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenImport(spec.loader, self)
        return spec


class _ThenImport(Loader):
    """The real loader, followed by one import."""

    def __init__(self, loader: Loader, waiting: _Waiting) -> None:
        self._loader = loader
        self._waiting = waiting

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Hand the module back to its own loader first: inspect and pickle look at it.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._waiting.done()

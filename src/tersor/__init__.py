"""tersor: model checkpoints made small. Light to import; each function loads its code when first used."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from tersor._hook import after_import

if TYPE_CHECKING:
    from tersor.archive import open_archive as open
    from tersor.archive.inspect import inspect
    from tersor.archive.verify import verify
    from tersor.evaluate import evaluate
    from tersor.finetune import finetune
    from tersor.load import load
    from tersor.methods import methods
    from tersor.packing import pack, unpack
    from tersor.pipeline import compress
    from tersor.report import report

    __version__: str

__all__ = [
    "__version__",
    "compress",
    "evaluate",
    "finetune",
    "inspect",
    "load",
    "methods",
    "open",
    "pack",
    "report",
    "unpack",
    "verify",
]

# Public name -> "module:attribute". Adding a public function is one line here and one above.
_PUBLIC = {
    "compress": "tersor.pipeline:compress",
    "evaluate": "tersor.evaluate:evaluate",
    "finetune": "tersor.finetune:finetune",
    "inspect": "tersor.archive.inspect:inspect",
    "load": "tersor.load:load",
    "methods": "tersor.methods:methods",
    "open": "tersor.archive:open_archive",
    "pack": "tersor.packing:pack",
    "report": "tersor.report:report",
    "unpack": "tersor.packing:unpack",
    "verify": "tersor.archive.verify:verify",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        # Here and not at the top: importlib.metadata takes longer to import than all the rest of this file.
        value: object = import_module("importlib.metadata").version("tersor")
    elif name in _PUBLIC:
        module, _, attribute = _PUBLIC[name].partition(":")
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module 'tersor' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package. Keeps a submodule from taking the place of the public function of the same name.

    Python binds `tersor.load` to the module tersor/load.py as soon as that is imported; users call it.
    The module is reached by `from tersor.load import ...`.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

# transformers finds quantizers by what has been registered, so tersor.hf must be imported before a model is.
after_import("transformers.modeling_utils", "tersor.hf")
# lm-evaluation-harness reads a model's quantization before it imports any model.
after_import("lm_eval.models.huggingface", "tersor.hf")

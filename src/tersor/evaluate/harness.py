"""lm-evaluation-harness on archives: `python -m tersor.evaluate.harness ...` is `lm_eval ...` after `import tersor`.

Nothing is adapted: with tersor imported, the harness's own model type opens an archive as any other checkpoint:

    python -m tersor.evaluate.harness --model hf --model_args pretrained=small/ --tasks hellaswag --device cpu

In Python `import tersor` before `lm_eval.simple_evaluate(model="hf", model_args="pretrained=small/", ...)` is all.
"""

from __future__ import annotations

import sys
from importlib import import_module

from tersor.errors import MissingExtraError


def main() -> None:
    """The command line of lm_eval, for the arguments of this process."""
    try:
        harness = import_module("lm_eval.__main__")
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            f"the harness needs {exc.name}, which is not installed; run: pip install 'lm-eval[hf]'"
        ) from exc
    harness.cli_evaluate()


if __name__ == "__main__":
    try:
        main()
    except MissingExtraError as missing:
        sys.exit(f"error: {missing}")

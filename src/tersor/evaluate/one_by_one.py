"""Tasks that look at one model after the other: the original, which stays, then each of the others beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tersor.errors import UsageError
from tersor.evaluate.options import Options
from tersor.evaluate.task import Data, Loader, Measurement, Path, Setting, Share

# Measures one model; the original first, whose outputs it may keep for those that follow.
Measurer = Callable[[Any, Share], Measurement]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured, as `prepare` gets it.

    original: the first model, in evaluation mode. tokenizer: the original's, padding and truncation switched off.
    """

    original: Any
    tokenizer: Any
    data: Any
    seed: int
    options: Options


@dataclass(frozen=True, slots=True)
class ModelTask:
    """A task whose models are loaded one at a time.

    auto_class: name of the transformers class that loads a model for it. needs_every_weight: a folder that lacks a
    weight of that class (a head, say) is refused: it would be random. reader: see `Task.read`.
    prepare: from the original to the function that measures it and the others; it checks that the data fit.
    """

    auto_class: str
    needs_every_weight: bool
    reader: Callable[[Path | None, Options], Data]
    prepare: Callable[[Subject], Measurer]

    def read(self, data: Path | None, options: Options) -> Data:
        return self.reader(data, options)

    def measure(self, folders: Sequence[Path], data: Data, setting: Setting) -> list[Measurement]:
        from tersor.evaluate.tokens import load_tokenizer

        tokenizer = load_tokenizer(folders[0])
        measurer: Measurer | None = None
        found = []
        for index, folder in enumerate(folders):

            def share(done: float, index: int = index, folder: Path = folder) -> None:
                setting.tell(index + done, len(folders), str(folder))

            share(0.0)
            model = self._load(setting.load, folder)
            if measurer is None:
                measurer = self.prepare(Subject(model, tokenizer, data, setting.seed, setting.options))
            found.append(measurer(model, share))
            del model
        return found

    def _load(self, load: Loader, folder: Path) -> Any:
        model, missing = load(folder, self.auto_class)
        if missing and self.needs_every_weight:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise UsageError(
                f"{folder}: no weights for {shown}; this task needs a complete {self.auto_class}, "
                "and would measure random weights here; choose another task"
            )
        return model

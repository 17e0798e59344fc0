"""Every error that tersor raises on purpose, one tree, named by who must act.

TersorError                  exit code 1: the work failed
├── UsageError               exit code 2: the caller can mend the call
│   ├── ShapeError           a tensor's shape does not fit the option
│   ├── NonFiniteError       a weight holds NaN or infinity where a number is needed
│   ├── UnknownNameError     no such codec, method, task, tensor ... (names the nearest)
│   ├── RecipeError          a recipe that cannot run
│   └── OutputExistsError    the output is already there and --force was not given
├── CorruptError             exit code 3: the bytes are damaged or not what they claim to be
├── NewerFormatError         exit code 3: the file needs a newer tersor (names the layout, codec or version)
├── BudgetError              exit code 4: the size asked for cannot be reached (says the nearest that can)
├── OutputError              exit code 1: the output could not be written (disk full, permission)
├── TransferError            exit code 1: a URL could not be read to the end (network, server)
└── MissingExtraError        exit code 1: an optional package is not installed (says the pip command)

A message says what, where, got, needed and the next step:
`model.tersor.safetensors: tensor 'a.weight', block 3: CRC-32C is 0x1f2e, index says 0x99aa; the file is damaged,
fetch it again`.
"""

from __future__ import annotations


class TersorError(Exception):
    """Root of all errors raised on purpose. `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(TersorError):
    """An argument, option or combination of them that cannot work."""

    exit_code = 2


class ShapeError(UsageError):
    """A tensor whose shape does not satisfy a stated formula."""


class NonFiniteError(UsageError):
    """NaN or infinity where finite numbers are needed."""


class UnknownNameError(UsageError, KeyError):
    """A name that no registry or archive holds. Also a KeyError, so mappings behave as mappings."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class RecipeError(UsageError):
    """A recipe whose names, ranges or order cannot run."""


class OutputExistsError(UsageError):
    """The output exists and may not be replaced."""


class CorruptError(TersorError):
    """Bytes that are damaged, truncated, or not what they claim to be."""

    exit_code = 3


class NewerFormatError(TersorError):
    """A file that names a version, layout or codec that this tersor does not know."""

    exit_code = 3


class BudgetError(TersorError):
    """A size or quality budget that cannot be met; the message says the nearest that can."""

    exit_code = 4


class OutputError(TersorError):
    """The output could not be written; nothing half-written is left behind."""


class TransferError(TersorError):
    """A network or a server failed; the same call may work later."""


class MissingExtraError(TersorError):
    """An optional dependency is not installed; the message says the pip command."""

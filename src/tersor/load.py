"""An archive or a plain Hugging Face folder -> a torch model, ready to run."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersor.errors import MissingExtraError, UnknownNameError, UsageError
from tersor.registry import did_you_mean

if TYPE_CHECKING:
    import torch


def load(
    path: str | PathLike[str],
    auto_class: str | type | None = None,
    dtype: str | torch.dtype | None = None,
    *,
    factors: bool = False,
) -> Any:
    """The model in `path`, on the CPU, in evaluation mode.

    path: a folder that `tersor compress` or `tersor pack` wrote, or a plain Hugging Face folder.
    auto_class: a transformers class or its name ("AutoModel", "AutoModelForCausalLM", "BertModel"). None: the class
        that config.json names under "architectures", AutoModel if that is no class of transformers.
    dtype: "float32", "bfloat16", ..., a torch dtype, or "auto". None: as from_pretrained, float32.
    factors: let linear layers compute with the two factors of a low-rank weight, not with their product, where the rank
        is low enough for that to be faster. Such a model saves as a plain one (see docs/methods.md).
    Nothing is downloaded. Raises: UsageError, UnknownNameError, MissingExtraError, CorruptError.
    """
    if not factors:
        return load_checked(path, auto_class, dtype)[0]
    _transformers()  # says what is missing if torch is
    from tersor.runtime.low_rank import keeping_factors

    with keeping_factors():
        return load_checked(path, auto_class, dtype)[0]


def load_checked(
    path: str | PathLike[str], auto_class: str | type | None = None, dtype: str | torch.dtype | None = None
) -> tuple[Any, list[str]]:
    """As `load`, with the names of the parameters that the folder does not hold: they are random."""
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"{folder}: no config.json here; needed: the folder of a Hugging Face model or of a tersor archive. "
            "Other archives open with tersor.open, or run `tersor unpack`"
        )
    model_class = _model_class(folder, auto_class)
    options = {} if dtype is None else {"dtype": dtype}
    model, report = model_class.from_pretrained(
        folder, local_files_only=True, output_loading_info=True, **options
    )
    return model.eval(), sorted(report["missing_keys"])


def _transformers() -> Any:
    try:
        import transformers  # tersor/__init__.py sees to it that the hook is registered
    except ImportError as exc:
        raise MissingExtraError(
            f"loading a model needs torch and transformers ({exc}); run: pip install 'tersor[torch]'"
        ) from exc
    return transformers


def _model_class(folder: Path, wanted: str | type | None) -> Any:
    transformers = _transformers()
    if isinstance(wanted, type):
        return wanted
    if wanted is not None:
        found = getattr(transformers, wanted, None)
        if not hasattr(found, "from_pretrained"):
            names = [name for name in dir(transformers) if name.startswith("AutoModel")]
            raise UnknownNameError(f"transformers has no model class {wanted!r}{did_you_mean(wanted, names)}")
        return found
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    for architecture in config.architectures or []:
        found = getattr(transformers, str(architecture), None)
        # config.json is not to be trusted with any other attribute of the package.
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    return transformers.AutoModel

"""What the reference reader raises."""


class FormatError(Exception):
    """The bytes break a rule of docs/format.md."""


class UnsupportedError(FormatError):
    """The bytes use a named part of the format (layout, codec, table set, coder) that version 1 does not define."""


def require(condition: bool, message: str) -> None:
    """Raise `FormatError(message)` unless `condition` holds."""
    if not condition:
        raise FormatError(message)

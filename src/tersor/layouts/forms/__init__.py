"""The forms of a dense block, docs/format.md 4.1: one module each, with its `encode` and `decode` side by side.

To add a form, write its module, give it the next number in `parts`, add its line here, and let `dense_encode` try it.
"""

from __future__ import annotations

from collections.abc import Callable

from tersor.layouts.forms import bytes as whole
from tersor.layouts.forms import codes, differences, fields, float_rows, narrow_rows, planes
from tersor.layouts.forms.parts import (
    FORM_BYTES,
    FORM_CODES,
    FORM_DIFFERENCES,
    FORM_FIELDS,
    FORM_FLOAT_ROWS,
    FORM_NARROW_ROWS,
    FORM_PLANES,
    Bytes,
    Reader,
    Scope,
)

DECODERS: dict[int, Callable[[Reader, Bytes, Scope], None]] = {
    FORM_BYTES: whole.decode,
    FORM_PLANES: planes.decode,
    FORM_FLOAT_ROWS: float_rows.decode,
    FORM_NARROW_ROWS: narrow_rows.decode,
    FORM_FIELDS: fields.decode,
    FORM_CODES: codes.decode,
    FORM_DIFFERENCES: differences.decode,
}

"""`tersor methods`: what is installed."""

from __future__ import annotations

from tersor.cli.options import verb
from tersor.cli.table import table
from tersor.cli.talk import Talk


@verb("methods", examples=["tersor methods", "tersor methods --json"], arguments_help={})
def methods(talk: Talk) -> None:
    """List the codecs, quantizers, sources and tasks that are installed.

    Packages that register entry points of the group `tersor.codecs`, `tersor.quantizers`, ... appear too.
    """
    from tersor.methods import methods as installed

    result = installed()
    rows = [[kind, ", ".join(names) if names else "-"] for kind, names in result.items()]
    talk.result(result, table(["kind", "names"], rows))

"""`tersor methods`."""

from __future__ import annotations

import json

from tersor.quant import QUANTIZERS


def test_list_has_a_line_for_every_quantizer(run_tersor) -> None:
    done = run_tersor("methods")
    assert done.returncode == 0
    first_words = {line.split()[0] for line in done.stdout.splitlines() if line}
    assert set(QUANTIZERS.names()) <= first_words


def test_quantizer_is_shown_with_its_options(run_tersor) -> None:
    done = run_tersor("methods", "fixed")
    assert done.returncode == 0
    for option in QUANTIZERS.get("fixed").info.options:
        assert option in done.stdout
    shown = json.loads(run_tersor("methods", "fixed", "--json").stdout)
    assert [option["name"] for option in shown["options"]] == list(QUANTIZERS.get("fixed").info.options)


def test_unknown_quantizer_exits_with_2_and_names_the_nearest(run_tersor) -> None:
    done = run_tersor("methods", "ternery")
    assert done.returncode == 2
    assert "did you mean 'ternary'" in done.stderr

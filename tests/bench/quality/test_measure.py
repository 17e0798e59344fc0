"""`tersor bench quality` on a tiny BERT, once, with peers of every kind; what it prints, draws and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from models import tiny_bert
from tersor.bench.quality.measure import measure_quality
from tersor.bench.quality.peers import QualityPeer
from tersor.bench.quality.plot import svg
from tersor.bench.quality.report import notes, table_cells
from tersor.cli.app import group
from tersor.corpus import calibration_sentences
from tersor.errors import UnknownNameError, UsageError
from tersor.registry import Registry

PEERS = ("coarse", "crashing", "unstarted", "absent")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model"), layers=1, hidden=16)


@pytest.fixture(scope="module")
def measured(
    model: Path, peer_site: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """The result of one run of the command in this process, which has torch already, and its picture."""
    folder = tmp_path_factory.mktemp("quality")
    picture, text, held_out = folder / "quality.svg", folder / "text.txt", folder / "held_out.txt"
    sentences = calibration_sentences(seed=0)
    text.write_text("\n".join(sentences[:60]))
    held_out.write_text("\n".join(sentences[60:90]))
    words = ["--task", "embedding", "--method", "rtn", "--size", "6bpw", "--seeds", "2", "--json"]
    words += ["--calibration", str(text), "--data", str(held_out), "--plot", str(picture)]
    words += [word for peer in PEERS for word in ("--peer", peer)]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(peer_site)
        patch.setenv("PYTHONPATH", str(peer_site))
        patch.setattr(
            "tersor.bench.quality.measure.QUALITY_PEERS", Registry[type[QualityPeer]]("quality_peer", {})
        )
        done = CliRunner().invoke(group, ["bench", "quality", str(model), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), picture


@pytest.fixture(scope="module")
def result(measured: tuple[dict[str, Any], Path]) -> dict[str, Any]:
    return measured[0]


def test_result_holds_what_the_documentation_says(result: dict[str, Any], model: Path) -> None:
    assert set(result) == {
        *("subject", "input", "metric", "seeds", "rows", "not_installed", "failed", "machine", "seconds"),
        "version",
    }
    assert (result["subject"], result["metric"], result["seeds"]) == ("quality", "embedding_error", 2)
    assert result["input"]["path"] == str(model)
    assert result["input"]["n_bytes"] == (model / "model.safetensors").stat().st_size
    for row in result["rows"]:
        assert set(row) == {
            *("method", "setting", "version", "equal_to", "n_bytes", "bits_per_weight"),
            *("value", "stderr", "values", "seconds"),
        }
        assert row["bits_per_weight"] == pytest.approx(
            8 * row["n_bytes"] / result["input"]["n_params"], rel=1e-3
        )


def test_methods_come_first_and_a_peer_is_followed_by_tersor_at_most_at_its_bytes(
    result: dict[str, Any],
) -> None:
    own, peer, equal = result["rows"]
    assert (own["method"], own["setting"], own["equal_to"]) == ("rtn", "6bpw", None)
    assert (peer["method"], peer["setting"], peer["version"]) == ("coarse", "5 bits", "coarse 1.0")
    assert (equal["method"], equal["equal_to"]) == ("two_sided", "coarse 5 bits")
    assert 0.97 * peer["n_bytes"] <= equal["n_bytes"] <= peer["n_bytes"]
    assert equal["value"] < peer["value"]


def test_two_seeds_give_a_standard_error(result: dict[str, Any]) -> None:
    for row in result["rows"]:
        assert len(row["values"]) == 2
        assert row["value"] == pytest.approx(mean(row["values"]))
        assert row["stderr"] == pytest.approx(stdev(row["values"]) / 2**0.5)


def test_peers_without_a_figure_are_listed_with_the_reason(result: dict[str, Any]) -> None:
    assert result["not_installed"] == ["absent"]
    assert sorted(one["message"] for one in result["failed"]) == [
        "crashing 5 bits: exit code 1: RuntimeError: no more",
        "unstarted: exit code 1: OSError: libpeer.so: undefined symbol",
    ]


def test_picture_is_well_formed_and_names_every_method(measured: tuple[dict[str, Any], Path]) -> None:
    result, picture = measured
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    words = {element.text for element in root.iter() if element.tag.endswith("}text")}
    assert {row["method"] for row in result["rows"]} <= words
    titles = [element.text or "" for element in root.iter() if element.tag.endswith("}title")]
    assert len(titles) == len(result["rows"])


def test_table_gives_the_ratio_to_the_peer(result: dict[str, Any]) -> None:
    heads, cells = table_cells(result)
    assert heads[:5] == ["method", "setting", "bytes", "bits/param", "embedding_error"]
    assert all(len(row) == len(heads) for row in cells)
    _, peer, equal = result["rows"]
    assert [row[6] for row in cells] == ["", "", f"{equal['value'] / peer['value']:.3f}"]


def test_notes_name_versions_and_who_is_missing(result: dict[str, Any]) -> None:
    said = "\n".join(notes(result))
    assert "2 seeds" in said
    assert "coarse 1.0" in said
    assert "not installed: absent" in said
    assert "no figure: crashing 5 bits: crashing 5 bits: exit code 1: RuntimeError: no more" in said


def test_picture_of_nothing_is_refused(result: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        svg({**result, "rows": []})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "ner"}, "task 'ner': quality is measured by embedding, kl, perplexity"),
        ({"seeds": 0}, "seeds=0"),
        ({"sizes": ["4"]}, "size '4'"),
        ({"peer_settings": ["Q9"]}, "peer setting 'Q9': the chosen peers have FP16"),
        ({"peer_pythons": ["nowhere/bin/python"]}, "'nowhere/bin/python': no such program"),
    ],
)
def test_arguments_are_checked_before_anything_runs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure_quality(Path("absent"), **{"task": "embedding", "peers": ["half"], **arguments})


@pytest.mark.parametrize(
    ("arguments", "nearest"), [({"methods": ["gpt"]}, "gptq"), ({"peers": ["ggm"]}, "ggml")]
)
def test_unknown_names_say_the_nearest(arguments: dict[str, Any], nearest: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{nearest}'"):
        measure_quality(Path("absent"), task="embedding", **{"peers": ["half"], **arguments})

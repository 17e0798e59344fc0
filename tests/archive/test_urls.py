"""Archives over HTTP and fsspec: the right data, few requests, no byte that is not needed, none twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import fsspec
import numpy as np
import pytest

from archives import random_array, small_lossy, write_archive
from tersor.archive import http, open_archive
from tersor.archive.inspect import inspect
from tersor.archive.reader import Archive
from tersor.archive.urls import is_url
from tersor.archive.verify import verify
from tersor.errors import CorruptError, TersorError, TransferError, UsageError
from tersor.layouts import Dense
from tersor.packing import pack, unpack
from tersor.types import TensorSpec

NAME = "model.tersor.safetensors"
HEAD_BYTES = 1 << 16


@dataclass
class Site:
    """A server of one folder. ranges: served as (path, begin, end); failures: statuses for the next requests."""

    url: str
    folder: Path
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    knows_ranges: bool = True
    tag: str = '"one"'

    @property
    def n_bytes(self) -> int:
        return sum(end - begin for _, begin, end in self.ranges)

    def assert_nothing_twice(self) -> None:
        spans = sorted(self.ranges)
        for (path, _, end), (next_path, begin, _) in pairwise(spans):
            assert path != next_path or end <= begin


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(http, "PAUSE_SECONDS", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, site)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(f"http://127.0.0.1:{server.server_address[1]}", tmp_path / "site")
    site.folder.mkdir()
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def answer(request: BaseHTTPRequestHandler, site: Site) -> None:
    path = unquote(urlsplit(request.path).path).lstrip("/")
    file = site.folder / path
    if site.failures or not file.is_file():
        request.send_error(site.failures.pop(0) if site.failures else 404)
        return
    data = file.read_bytes()
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["Range"] or "")
    begin, end = 0, len(data)
    if match and site.knows_ranges:
        begin, end = int(match[1]), min(int(match[2]) + 1, len(data))
        if begin >= len(data):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(data)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
    site.ranges.append((path, begin, end))
    request.send_response(206 if match and site.knows_ranges else 200)
    request.send_header("ETag", site.tag)
    request.send_header("Content-Length", str(end - begin))
    if match and site.knows_ranges:
        request.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
    request.end_headers()
    try:
        request.wfile.write(data[begin:end])
    except (BrokenPipeError, ConnectionResetError):  # the client has seen enough
        request.close_connection = True


def noise(rows: int, columns: int, name: str = "a") -> dict[TensorSpec, Dense]:
    """A tensor that does not compress, of about rows * columns bytes."""
    spec = TensorSpec(name, "U8", (rows, columns))
    return {spec: Dense(random_array(spec))}


def assert_same(found: Archive, expected: Archive) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes()


def test_small_file_opens_and_reads_in_one_request(site: Site) -> None:
    write_archive(site.folder / NAME, small_lossy())
    with open_archive(f"{site.url}/{NAME}") as archive, open_archive(site.folder / NAME) as local:
        assert_same(archive, local)
    assert len(site.ranges) == 1


def test_file_with_a_long_header_opens_in_two_requests(site: Site) -> None:
    specs = [TensorSpec(f"a.rather.long.name.of.a.tensor.{number}", "F32", (2,)) for number in range(2000)]
    write_archive(site.folder / NAME, {spec: Dense(random_array(spec)) for spec in specs})
    with open_archive(f"{site.url}/{NAME}") as archive:
        assert len(archive) == 2000
    assert len(site.ranges) == 2
    site.assert_nothing_twice()


def test_whole_tensor_takes_one_request_for_blocks_side_by_side(site: Site) -> None:
    tensors = noise(4000, 1000)
    write_archive(site.folder / NAME, tensors)
    with open_archive(f"{site.url}/{NAME}") as archive:
        assert len(archive.tensor("a").table) > 4
        assert archive["a"].tobytes() == next(iter(tensors.values())).array.tobytes()
    assert len(site.ranges) == 2
    assert site.n_bytes == (site.folder / NAME).stat().st_size
    site.assert_nothing_twice()


def test_one_percent_of_the_rows_reads_the_head_and_its_blocks_alone(site: Site) -> None:
    tensors = noise(40_000, 256)
    write_archive(site.folder / NAME, tensors)
    with open_archive(f"{site.url}/{NAME}") as archive:
        table = archive.tensor("a").table
        found = archive.read("a", rows=slice(20_000, 20_400))
    assert np.array_equal(found, next(iter(tensors.values())).array[20_000:20_400])
    blocks = list(table.overlapping(range(20_000, 20_400), range(256)))
    needed = sum(int(table.offsets[block.number + 1] - table.offsets[block.number]) for block in blocks)
    assert len(blocks) < len(table) / 4
    assert site.n_bytes == HEAD_BYTES + needed
    assert len(site.ranges) == 2


def test_column_slice_reads_only_the_tiles_that_it_overlaps(site: Site) -> None:
    tensors = noise(4, 1 << 20)
    write_archive(site.folder / NAME, tensors)
    with open_archive(f"{site.url}/{NAME}") as archive:
        table = archive.tensor("a").table
        assert table.n_across == 2
        found = archive.read("a", columns=slice(700_000, 700_100))
    assert np.array_equal(found, next(iter(tensors.values())).array[:, 700_000:700_100])
    blocks = list(table.overlapping(range(4), range(700_000, 700_100)))
    needed = sum(int(table.offsets[block.number + 1] - table.offsets[block.number]) for block in blocks)
    assert site.n_bytes == HEAD_BYTES + needed


def test_threads_read_the_same(site: Site) -> None:
    tensors = noise(4000, 1000)
    write_archive(site.folder / NAME, tensors)
    with open_archive(f"{site.url}/{NAME}") as archive:
        assert archive.read("a", threads=3).tobytes() == next(iter(tensors.values())).array.tobytes()
    site.assert_nothing_twice()


@pytest.fixture
def packed(site: Site, tmp_path: Path) -> Path:
    """A packed folder of several files, at site/small/, one of them with a name that must be quoted."""
    source = tmp_path / "source"
    (source / "sub folder").mkdir(parents=True)
    (source / "config.json").write_text('{"model_type": "bert"}')
    (source / "vocab.txt").write_text("[PAD]\nthe\n")
    (source / "sub folder" / "noise #1?.dat").write_bytes(
        random_array(TensorSpec("n", "U8", (5000,))).tobytes()
    )
    write_archive(tmp_path / "weights", {TensorSpec("w", "F32", (8, 8)): Dense(np.ones((8, 8), np.float32))})
    (tmp_path / "weights").rename(source / "model.safetensors")
    pack(source, site.folder / "small")
    return site.folder / "small"


def test_folder_url_opens_what_its_primary_names(site: Site, packed: Path) -> None:
    with open_archive(f"{site.url}/small/") as archive, open_archive(packed) as local:
        assert_same(archive, local)
        assert archive.provenance == local.provenance


def test_verify_and_inspect_accept_urls(site: Site, packed: Path) -> None:
    found, local = verify(f"{site.url}/small"), verify(packed)
    assert found == local
    assert found["ok"]
    assert inspect(f"{site.url}/small?token=secret")["output"] == {
        **inspect(packed)["output"],
        "path": f"{site.url}/small",
    }


def test_verify_over_a_url_reports_damage(site: Site, packed: Path) -> None:
    (packed / "vocab.txt").write_text("changed")
    data = bytearray((packed / NAME).read_bytes())
    data[-1] ^= 1
    (packed / NAME).write_bytes(data)
    problems = verify(f"{site.url}/small")["problems"]
    assert len(problems) == 2
    assert any("vocab.txt" in problem for problem in problems)


def test_unpack_over_a_url_restores_every_byte(site: Site, packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "local")
    found = unpack(f"{site.url}/small?token=secret", tmp_path / "remote")
    assert found["input"]["path"] == f"{site.url}/small"
    local, remote = (
        {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
        for folder in (tmp_path / "local", tmp_path / "remote")
    )
    assert len(local) == 4
    assert remote == local


@pytest.mark.parametrize("text", ["changed", "longer than what was there before, and by much"])
def test_unpack_over_a_url_leaves_nothing_if_a_side_file_changed(
    site: Site, packed: Path, tmp_path: Path, text: str
) -> None:
    (packed / "vocab.txt").write_text(text)
    with pytest.raises(CorruptError, match=r"side file vocab\.txt"):
        unpack(f"{site.url}/small", tmp_path / "remote")
    assert not (tmp_path / "remote").exists()


def test_unpack_over_a_url_names_a_side_file_that_is_missing(
    site: Site, packed: Path, tmp_path: Path
) -> None:
    (packed / "vocab.txt").unlink()
    with pytest.raises(TersorError, match=r"vocab\.txt"):
        unpack(f"{site.url}/small", tmp_path / "remote")
    assert not (tmp_path / "remote").exists()


def test_folder_url_of_shards_is_found_by_the_shard_index(site: Site) -> None:
    goldens = Path(__file__).parent.parent / "golden" / "archives" / "lossy-folder"
    for file in goldens.iterdir():
        (site.folder / file.name).write_bytes(file.read_bytes())
    with open_archive(site.url) as archive, open_archive(goldens) as local:
        assert_same(archive, local)


def test_folder_url_without_anything_says_what_was_looked_for(site: Site) -> None:
    with pytest.raises(UsageError, match=r"neither model\.tersor\.safetensors nor .*index\.json is there"):
        open_archive(f"{site.url}/nothing")


def test_shard_index_that_leaves_the_folder_is_refused(site: Site) -> None:
    (site.folder / "model.tersor.safetensors.index.json").write_text(
        '{"weight_map": {"a": "../x.tersor.safetensors"}}'
    )
    with pytest.raises(CorruptError, match="path"):
        open_archive(site.url)


def test_server_without_ranges_is_named(site: Site) -> None:
    site.knows_ranges = False
    write_archive(site.folder / NAME, noise(1000, 1000))
    with pytest.raises(UsageError, match="does not serve byte ranges"):
        open_archive(f"{site.url}/{NAME}")


def test_failing_server_is_asked_again(site: Site) -> None:
    write_archive(site.folder / NAME, small_lossy())
    site.failures = [503, 500]
    with open_archive(f"{site.url}/{NAME}") as archive:
        assert len(archive) == 5
    site.failures = [503, 503, 503]
    with pytest.raises(TransferError, match="cannot be read"):
        open_archive(f"{site.url}/{NAME}")


def test_file_that_is_replaced_meanwhile_is_refused(site: Site) -> None:
    write_archive(site.folder / NAME, noise(1000, 1000))
    with open_archive(f"{site.url}/{NAME}") as archive:
        site.tag = '"two"'
        with pytest.raises(TransferError, match="was replaced while it was read"):
            archive["a"]


def test_empty_and_foreign_files_raise_corrupt(site: Site) -> None:
    (site.folder / NAME).write_bytes(b"")
    with pytest.raises(CorruptError):
        open_archive(f"{site.url}/{NAME}")
    (site.folder / NAME).write_bytes(b"<html>" * 50)
    with pytest.raises(CorruptError):
        open_archive(f"{site.url}/{NAME}")


def test_missing_file_is_a_usage_error_without_the_query(site: Site) -> None:
    with pytest.raises(UsageError, match="HTTP 404") as caught:
        open_archive(f"{site.url}/{NAME}?token=secret")
    assert "secret" not in str(caught.value)


def test_fsspec_folder_and_file_open(site: Site, packed: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(packed), "/urls/small", recursive=True)
    try:
        with open_archive("memory://urls/small") as archive, open_archive(packed) as local:
            assert_same(archive, local)
        with open_archive(f"memory://urls/small/{NAME}") as archive:
            assert "w" in archive or len(archive)
        assert verify("memory://urls/small")["ok"]
    finally:
        memory.rm("/urls", recursive=True)


def test_unknown_kind_of_url_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        open_archive("nosuchkind://x/y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/x", True),
        ("s3://b/k", True),
        ("simplecache::s3://b", True),
        ("a/b", False),
        ("C:\\x", False),
        ("", False),
    ],
)
def test_urls_are_told_from_paths(text: str, expected: bool) -> None:
    assert is_url(text) == expected
    assert not is_url(Path(text))

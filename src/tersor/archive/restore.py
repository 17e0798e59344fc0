"""The original bytes of tensors and files, streamed in order, every hash checked on the way."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from blake3 import blake3

from tersor.archive.file import ArchiveFile
from tersor.archive.index import FileRecord
from tersor.archive.tensor import Problem
from tersor.errors import CorruptError


def tensor_bytes(
    file: ArchiveFile, number: int, threads: int = 1, problem: Problem | None = None
) -> Iterator[memoryview]:
    """Yield all decoded bytes of a tensor, aliases followed; after the last, check their BLAKE3 hash if it is recorded.

    problem: told of each damaged block (zeros are yielded for it) and of a wrong hash; None: those raise CorruptError.
    """
    number = file.target(number)
    tensor, expected = file.tensor(number), file.index.tensors[number].blake3
    messages: list[str] = []
    digest, n_bytes = blake3(), 0
    for chunk in tensor.chunks(threads, None if problem is None else messages.append):
        digest.update(chunk)
        n_bytes += len(chunk)
        yield chunk
    if expected is not None and not messages and digest.digest(len(expected)) != expected:
        messages.append(
            f"{tensor.where}: BLAKE3 of its {n_bytes} bytes is {digest.digest(len(expected)).hex()}, "
            f"the index says {expected.hex()}; the file is damaged, fetch it again"
        )
    for message in messages:
        if problem is None:
            raise CorruptError(message)
        problem(message)


def file_bytes(file: ArchiveFile, record: FileRecord, threads: int = 1) -> Iterator[bytes | memoryview]:
    """Yield the bytes of an original file; after the last, check their number and SHA-256.

    Raises: CorruptError, also before the first byte if the pieces cannot add up to the file's length.
    """
    where = f"{file.name}: file {record.path!r}"
    expected = sum(
        file.spec(segment).n_bytes if isinstance(segment, int) else len(segment)
        for segment in record.segments
    )
    if expected != record.n_bytes:
        raise CorruptError(f"{where}: its pieces are {expected} bytes, the index says {record.n_bytes}")
    digest = sha256()
    for segment in record.segments:
        for chunk in tensor_bytes(file, segment, threads) if isinstance(segment, int) else [segment]:
            digest.update(chunk)
            yield chunk
    if digest.digest() != record.sha256:
        raise CorruptError(
            f"{where}: SHA-256 of its {record.n_bytes} bytes is {digest.hexdigest()}, "
            f"the index says {record.sha256.hex()}; the file is damaged, fetch it again"
        )

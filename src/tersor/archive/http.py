"""Files behind http and https, read by range requests with Python's own client."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from urllib.parse import quote

from tersor.archive.urls import NotThereError
from tersor.errors import TransferError, UsageError

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = (0.5, 2.0)  # before the second and the third attempt
_PIECE_BYTES = 1 << 20
_NOT_THERE = (401, 403, 404, 410)
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})")


class HttpFolder:
    """What lies below a URL. query: "" or "?...", repeated in every request."""

    def __init__(self, base: str, query: str) -> None:
        self.shown = base
        self._query = query

    def file(self, relative: str) -> HttpFile:
        """Return a file below the folder."""
        return HttpFile(f"{self.shown}/{quote(relative)}{self._query}")

    def archive_files(self) -> None:
        """http knows no folders."""


class HttpFile:
    """One file. Redirects are followed; a failing server is asked three times; a file that changes is refused.

    Raises: NotThereError, UsageError (the server knows no ranges), TransferError.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._shown = url.partition("?")[0]
        self._n_bytes = -1
        self._tag: str | None = None
        # No handler for file: or ftp:, to which a server might redirect.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            self._opener.add_handler(handler)

    def first(self, n_bytes: int) -> tuple[bytes, int]:
        """Return the first n_bytes, all of a shorter file, and the size of the file."""
        data, self._n_bytes, self._tag = self._request(0, n_bytes)
        return data, self._n_bytes

    def fetch(self, begin: int, end: int) -> bytes:
        """Return bytes begin..end of the file that `first` saw."""
        data, n_bytes, tag = self._request(begin, end)
        if n_bytes != self._n_bytes or tag != self._tag:
            raise TransferError(f"{self._shown}: the file was replaced while it was read; open it again")
        if len(data) != end - begin:
            raise TransferError(f"{self._shown}: got {len(data)} bytes of {end - begin}; run again")
        return data

    def _request(self, begin: int, end: int) -> tuple[bytes, int, str | None]:
        """Return (bytes begin..end or up to the file's end, size of the file, its version)."""
        for pause in (*PAUSE_SECONDS, None):
            try:
                return self._attempt(begin, end)
            except urllib.error.HTTPError as exc:
                with exc:
                    if exc.code == 416 and begin == 0:  # an empty file has no first byte
                        return b"", self._range(exc.headers.get("Content-Range"))[2], exc.headers.get("ETag")
                    if exc.code in _NOT_THERE:
                        raise NotThereError(
                            f"{self._shown}: HTTP {exc.code} {exc.reason}; check the URL and whether it is public"
                        ) from exc
                    problem: Exception = exc
                    if exc.code not in _TRANSIENT:
                        break
            except (OSError, http.client.HTTPException) as exc:  # URLError and timeouts are OSErrors
                problem = exc
            if pause is not None:
                time.sleep(pause)
        reason = getattr(problem, "reason", None) or problem
        raise TransferError(
            f"{self._shown}: cannot be read: {reason}; check the network and run again"
        ) from problem

    def _attempt(self, begin: int, end: int) -> tuple[bytes, int, str | None]:
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={begin}-{end - 1}"})
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            tag = response.headers.get("ETag")
            if response.status == 206:
                first, last, n_bytes = self._range(response.headers.get("Content-Range"))
                if first != begin or last != min(end, n_bytes) - 1:
                    raise TransferError(
                        f"{self._shown}: asked for bytes {begin} to {end - 1}, the server sent {first} to {last} of "
                        f"{n_bytes}; fetch the file and open the copy"
                    )
                return self._body(response, last + 1 - first), n_bytes, tag
            length = response.headers.get("Content-Length", "")
            if (
                begin == 0 and length.isdecimal() and int(length) <= end
            ):  # all that was asked for, all the same
                return self._body(response, int(length)), int(length), tag
        raise UsageError(
            f"{self._shown}: the server does not serve byte ranges; fetch the file and open the copy"
        )

    def _range(self, header: str | None) -> tuple[int, int, int]:
        """Return (first, last, size of the file) from a Content-Range; first and last are 0 if it has none."""
        match = _CONTENT_RANGE.fullmatch((header or "").strip())
        if match is None:
            raise UsageError(
                f"{self._shown}: the server answered a range request with Content-Range {header!r}; "
                "needs the range and the size of the file; fetch the file and open the copy"
            )
        first, last, n_bytes = (int(group or 0) for group in match.groups())
        return first, last, n_bytes

    def _body(self, response: http.client.HTTPResponse, n_bytes: int) -> bytes:
        data = bytearray()
        while len(data) < n_bytes:
            piece = response.read(min(_PIECE_BYTES, n_bytes - len(data)))
            if not piece:
                raise http.client.IncompleteRead(b"", n_bytes - len(data))
            data += piece
        return bytes(data)

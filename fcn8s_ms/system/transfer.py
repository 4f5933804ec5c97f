"""Transfers over HTTP that end: if they fall silent or slow, or bring more than they may."""

import contextlib
import functools
import http.client
import io
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["SPARE_BYTES", "Transfer", "counted_by"]

_SILENCE = 30.0
"""Seconds without a byte after which a connection is given up."""
_PERIOD = 60.0
_LEAST_PER_PERIOD = 60_000
"""A connection that brings fewer bytes than these within so many seconds is given up, too."""
_BYTES_BETWEEN_CHECKS = 2**24
SPARE_BYTES = 2**24
"""Bytes that downloads leave free on the disk."""


class Transfer:
    """Bytes of one file as they come, and what ends that: too slow, too many, a full disk.

    Args:
        part: file they are written to.
        most: largest number of them.

    Attributes:
        fault: why another attempt would be useless; None while there is no such reason.
    """

    def __init__(self, part: Path, most: int):
        self._part = part
        self._most = most
        self._received = 0
        self._until_check = 0
        self._in_period, self._waited = 0, 0.0
        self.fault: str | None = None

    def expect(self, length: int) -> None:
        """Raises OSError if a file of so many bytes, or one more byte, is too much."""
        if length + self._received > self._most:
            self._give_up(
                f"is longer than {self._most / 1e9:,.0f} GB, so it is not the published file: is "
                "the address right?"
            )
        with contextlib.suppress(FileNotFoundError):
            length = max(length - self._part.stat().st_size, 0)  # some of it is there
        free = shutil.disk_usage(self._part.parent).free
        if free < length + SPARE_BYTES:
            self._give_up(
                f"needs {length / 1e9:,.1f} GB more, but {self._part.parent.absolute()} "
                f"has {free / 1e9:,.1f} GB free: free some space"
            )

    def add(self, count: int, seconds: float) -> None:
        """Counts bytes that have come after some seconds of waiting.

        Raises:
            OSError: they come too slowly, are too many or do not fit onto the disk.
        """
        self._received += count
        self._until_check -= count
        if self._until_check <= 0:
            self._until_check = _BYTES_BETWEEN_CHECKS
            self.expect(0)
        self._in_period += count
        self._waited += seconds
        if count and self._waited > _PERIOD:
            if self._in_period < _LEAST_PER_PERIOD:
                raise TimeoutError(
                    f"only {self._in_period:,} bytes have come in {self._waited:.0f} s"
                )
            self._in_period, self._waited = 0, 0.0

    def _give_up(self, fault: str) -> None:
        self.fault = fault
        raise OSError(fault)


class _CountedStream(io.RawIOBase):
    """The bytes of a connection, each portion counted by a transfer."""

    def __init__(self, stream: io.RawIOBase, transfer: Transfer):
        self._stream = stream
        self._transfer = transfer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        started = time.monotonic()
        count = self._stream.readinto(buffer)
        self._transfer.add(count or 0, time.monotonic() - started)
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, transfer: Transfer, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._transfer = transfer
        self.fp = io.BufferedReader(_CountedStream(self.fp.detach(), transfer))

    def begin(self) -> None:
        super().begin()
        if self.length:
            self._transfer.expect(self.length)


class _Connecting(urllib.request.AbstractHTTPHandler):
    """Has the responses to all requests counted by a transfer."""

    transfer: Transfer

    def do_open(self, http_class: Any, req: Any, **options: Any) -> Any:
        def connection(host: str, **more: Any) -> http.client.HTTPConnection:
            found = http_class(host, **{**more, "timeout": _SILENCE})
            found.response_class = functools.partial(_Response, self.transfer)
            return found

        return super().do_open(connection, req, **options)


class _Http(_Connecting, urllib.request.HTTPHandler):
    pass


class _Https(_Connecting, urllib.request.HTTPSHandler):
    pass


@contextlib.contextmanager
def counted_by(transfer: Transfer) -> Iterator[None]:
    """Has what `urllib` reads counted by a transfer: `download` itself would wait without end."""
    handlers = [_Http(), _Https()]
    for handler in handlers:
        handler.transfer = transfer
    before = getattr(urllib.request, "_opener", None)
    urllib.request.install_opener(urllib.request.build_opener(*handlers))
    try:
        yield
    finally:
        urllib.request.install_opener(before)

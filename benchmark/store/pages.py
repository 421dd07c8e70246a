"""The records in a SQLite file, page by page, without SQLite: it gives up where a page is damaged.

Follows the file format at https://www.sqlite.org/fileformat2.html. Every page is looked at for
itself, whether or not the tree of pages still leads there, so a lost header, root or inner page
hides nothing. What is read is a guess until a checksum says that it is right.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from benchmark.store.codec import Row

_INNER_INDEX, _LEAF_INDEX, _LEAF_TABLE = 0x02, 0x0A, 0x0D
_HEADER = {_INNER_INDEX: 12, _LEAF_INDEX: 8, _LEAF_TABLE: 8}
"""Type of a page that holds records → size of its header."""
_FILE_HEADER = 100
_DEFAULT_SIZE = 4096
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_MOST_COLUMNS = 64
_FIRST_TEXT = 12

Data = memoryview


def records(data: bytes) -> Iterator[Row]:
    """Yield whatever in the bytes of a SQLite file reads as a record, in no useful order."""
    view = memoryview(data)
    for size in sorted({_page_size(view), _DEFAULT_SIZE}):
        for number in range(1, len(view) // size + 1):
            yield from _Page(view, size, number).records()


def _page_size(data: Data) -> int:
    """Return what the file's header says, if it can be."""
    found = int.from_bytes(data[16:18], "big")
    found = 65536 if found == 1 else found
    return found if 512 <= found <= 65536 and found.bit_count() == 1 else _DEFAULT_SIZE


class _Page:
    def __init__(self, data: Data, size: int, number: int) -> None:
        """Look at page `number`, the first being 1, of `size` bytes."""
        self._data, self._size = data, size
        self._page = data[(number - 1) * size : number * size]
        self._start = _FILE_HEADER if number == 1 else 0

    def records(self) -> Iterator[Row]:
        """Yield the records whose cells start on this page."""
        kind = self._page[self._start]
        if kind not in _HEADER:
            return
        count = int.from_bytes(self._page[self._start + 3 : self._start + 5], "big")
        first = self._start + _HEADER[kind]
        for at in range(first, min(first + 2 * count, self._size - 1), 2):
            cell = int.from_bytes(self._page[at : at + 2], "big")
            try:
                yield decode_record(self._payload(kind, cell))
            except (ValueError, IndexError, struct.error):
                continue  # not a record, or no longer

    def _payload(self, kind: int, at: int) -> bytes:
        """Return the bytes of a cell, together with those on its overflow pages."""
        at += 4 if kind == _INNER_INDEX else 0
        length, at = varint(self._page, at)
        if kind == _LEAF_TABLE:
            _, at = varint(self._page, at)  # the row's number
        if length > len(self._data):
            raise ValueError
        local = self._local(kind, length)
        parts, left = [bytes(self._page[at : at + local])], length - local
        next_page = self._page[at + local : at + local + 4] if left else b""
        while left > 0:
            start = (int.from_bytes(next_page, "big") - 1) * self._size
            if not 0 < start < len(self._data):
                raise ValueError
            part = self._data[start + 4 : start + min(self._size, left + 4)]
            parts.append(bytes(part))
            left -= len(part)
            if not part:
                raise ValueError
            next_page = self._data[start : start + 4]
        return b"".join(parts)

    def _local(self, kind: int, length: int) -> int:
        """Return how many bytes of a payload lie on the page itself."""
        most = self._size - 35 if kind == _LEAF_TABLE else (self._size - 12) * 64 // 255 - 23
        if length <= most:
            return length
        least = (self._size - 12) * 32 // 255 - 23
        fitting = least + (length - least) % (self._size - 4)
        return fitting if fitting <= most else least


def decode_record(payload: bytes) -> Row:
    """Return the values of a record; a `ValueError` or `IndexError` if it cannot be one."""
    view = memoryview(payload)
    end, at = varint(view, 0)
    if end > len(view):
        raise ValueError
    kinds = []
    while at < end:
        kind, at = varint(view, at)
        kinds.append(kind)
        if len(kinds) > _MOST_COLUMNS:
            raise ValueError
    values = []
    for kind in kinds:
        value, at = _value(view, kind, at)
        values.append(value)
    return tuple(values)


def _value(data: Data, kind: int, at: int) -> tuple[Any, int]:
    """Return a value of the given serial type and where the next one starts."""
    if kind in (0, 8, 9):
        return {0: None, 8: 0, 9: 1}[kind], at
    if kind == 7:
        return struct.unpack(">d", data[at : at + 8])[0], at + 8
    if kind in _INTEGER_BYTES:
        end = at + _INTEGER_BYTES[kind]
        return int.from_bytes(data[at:end], "big", signed=True), end
    if kind < _FIRST_TEXT:
        raise ValueError
    end = at + (kind - _FIRST_TEXT) // 2
    if end > len(data):
        raise ValueError
    part = bytes(data[at:end])
    return part.decode() if kind % 2 else part, end


def varint(data: Data, at: int) -> tuple[int, int]:
    """Return the number of one to nine bytes at `at`, and where it ends."""
    number = 0
    for place in range(at, at + 8):
        byte = data[place]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, place + 1
    return number << 8 | data[at + 8], at + 9

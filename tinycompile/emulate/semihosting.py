"""The semihosting calls that the firmware harness makes, on files in memory. Source: Arm, Semihosting for AArch32 and
AArch64 (semihosting.rst in ARM-software/abi-aa), release 2.0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

SYS_OPEN, SYS_CLOSE, SYS_WRITE0, SYS_WRITE, SYS_READ, SYS_EXIT_EXTENDED = 0x01, 0x02, 0x04, 0x05, 0x06, 0x20
MODE_WRITE = 4  # modes from here on ("w", "wb", ...) create a file


@dataclass
class _OpenFile:
    data: bytearray
    position: int = 0


class Semihost:
    """`read(address, size)` and `write(address, bytes)` reach the emulated memory; `files` can be opened by name.

    After the run `written` holds the files that were created, `status` the exit status (None: did not exit) and `said`
    what was printed.
    """

    def __init__(
        self, read: Callable[[int, int], bytes], write: Callable[[int, bytes], None], files: Mapping[str, bytes]
    ) -> None:
        self._read, self._write, self._files = read, write, files
        self._open: list[_OpenFile] = []
        self.written: dict[str, bytearray] = {}
        self.status: int | None = None
        self.said = ""

    def call(self, operation: int, argument: int) -> int:
        """Carry out one call; its result. ValueError for an operation that the harness has no use for."""
        if operation == SYS_OPEN:
            name_at, mode, length = self._words(argument, 3)
            return self._open_file(self._read(name_at, length).decode("ascii"), mode)
        if operation == SYS_WRITE:
            handle, address, size = self._words(argument, 3)
            self._open[handle - 1].data.extend(self._read(address, size))
            return 0
        if operation == SYS_READ:
            handle, address, size = self._words(argument, 3)
            file = self._open[handle - 1]
            part = bytes(file.data[file.position : file.position + size])
            self._write(address, part)
            file.position += len(part)
            return size - len(part)
        if operation == SYS_CLOSE:
            return 0
        if operation == SYS_WRITE0:
            self.said += self._text(argument)
            return 0
        if operation == SYS_EXIT_EXTENDED:
            self.status = self._words(argument, 2)[1]
            return 0
        raise ValueError(f"semihosting operation 0x{operation:x}")

    def _open_file(self, name: str, mode: int) -> int:
        if mode >= MODE_WRITE:
            self.written[name] = bytearray()
            self._open.append(_OpenFile(self.written[name]))
        else:
            self._open.append(_OpenFile(bytearray(self._files[name])))
        return len(self._open)

    def _words(self, address: int, count: int) -> list[int]:
        raw = self._read(address, 4 * count)
        return [int.from_bytes(raw[4 * i : 4 * i + 4], "little") for i in range(count)]

    def _text(self, address: int) -> str:
        text = bytearray()
        while (byte := self._read(address + len(text), 1)) != b"\0":
            text += byte
        return text.decode("ascii", "replace")

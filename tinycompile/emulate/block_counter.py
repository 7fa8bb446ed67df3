"""Exact instruction counts in unicorn: how often each basic block ran, times the instructions in it.

On x86-64 the block hook is a few bytes of machine code that increment a table: a Python callback per block would be 60
times slower. Elsewhere the callback it is.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import Any

import numpy as np

# void hook(uc, uint64 address /*rsi*/, uint32 size /*edx*/, table* /*rcx*/):
#   index = address - table[0]; if (index < table[1]) { count[index / 2] += 1; size[index / 2] = edx; }
# with 16 bytes per entry (count, size) from byte 16 of the table on.
_HOOK = bytes.fromhex(
    "4889f0"  # mov  rax, rsi
    "482b01"  # sub  rax, [rcx]
    "483b4108"  # cmp  rax, [rcx+8]
    "730e"  # jae  end
    "48c1e003"  # shl  rax, 3
    "488344011001"  # add  qword [rcx+rax+16], 1
    "89540118"  # mov  [rcx+rax+24], edx
    "c3"  # end: ret
)


class BlockCounter:
    """Counts blocks of the code in [start, start + size)."""

    def __init__(self, uc: Any, start: int, code: bytes, thumb: bool) -> None:
        self.start, self.code, self.thumb = start, code, thumb
        self.lengths: dict[tuple[int, int], int] = {}
        entries = len(code) // 2 + 1
        self.table = np.zeros(2 + 2 * entries, dtype=np.uint64)
        self.table[0], self.table[1] = start, len(code)
        if platform.machine() in ("x86_64", "AMD64"):
            self._native(uc)
        else:
            from unicorn.unicorn_const import UC_HOOK_BLOCK

            uc.hook_add(UC_HOOK_BLOCK, self._callback)

    def _native(self, uc: Any) -> None:
        import unicorn.unicorn_py3.unicorn as binding
        from unicorn.unicorn_const import UC_HOOK_BLOCK

        self.page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.page.write(_HOOK)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.page))
        handle = ctypes.c_size_t()
        status = binding.uclib.uc_hook_add(
            uc._uch,
            ctypes.byref(handle),
            UC_HOOK_BLOCK,
            ctypes.c_void_p(address),
            ctypes.c_void_p(self.table.ctypes.data),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status != 0:
            raise RuntimeError(f"unicorn refused the block hook (status {status})")

    def _callback(self, _uc: Any, address: int, size: int, _data: Any) -> None:
        index = address - self.start
        if 0 <= index < len(self.code):
            self.table[2 + index // 2 * 2] += np.uint64(1)
            self.table[3 + index // 2 * 2] = size

    def reset(self) -> None:
        self.table[2:] = 0

    def instructions(self) -> int:
        """Instructions executed since the last reset."""
        counts = self.table[2::2]
        total = 0
        for entry in np.nonzero(counts)[0]:
            size = int(self.table[3 + 2 * entry]) & 0xFFFFFFFF
            total += int(counts[entry]) * self.length(int(entry) * 2, size)
        return total

    def block_at(self, address: int) -> int:
        """Instructions in the block that begins there and ran last."""
        offset = address - self.start
        return self.length(offset, int(self.table[3 + offset // 2 * 2]) & 0xFFFFFFFF)

    def length(self, offset: int, size: int) -> int:
        """Instructions in the block of `size` bytes at `offset`, from their encodings' lengths."""
        key = offset, size
        if key not in self.lengths:
            at, number = offset, 0
            while at < offset + size:
                half = self.code[at] | self.code[at + 1] << 8
                wide = half >> 11 in (0b11101, 0b11110, 0b11111) if self.thumb else half & 3 == 3
                at += 4 if wide else 2
                number += 1
            self.lengths[key] = number
        return self.lengths[key]

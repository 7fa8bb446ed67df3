"""TFLite models of one operator that moves values, made in code, by name; the maker says of which type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tflite_models import ModelMaker

Case = Callable[[ModelMaker], int]


def moved(
    builtin: str,
    before: tuple[int, ...],
    after: tuple[int, ...],
    *constants: Any,
    options: str = "",
    **fields: Any,
) -> Case:
    """One operator on a map and constants of integers."""

    def build(m: ModelMaker) -> int:
        x = m.input(before)
        return m.op(builtin, [x, *(m.ints(c) for c in constants)], m.tensor(after), options, **fields)

    return build


def strided(
    before: tuple[int, ...],
    after: tuple[int, ...],
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int],
    **masks: int,
) -> Case:
    return moved("STRIDED_SLICE", before, after, begin, end, strides, options="StridedSliceOptions", **masks)


def several(builtin: str, before: tuple[int, ...], parts: list[tuple[int, ...]], axis: int) -> Case:
    """All outputs of an operator, put together again in the other order."""

    def build(m: ModelMaker) -> int:
        x, outs = m.input(before), [m.tensor(p) for p in parts]
        options = {"SPLIT": "SplitOptions", "SPLIT_V": "SplitVOptions", "UNPACK": "UnpackOptions"}[builtin]
        fields = {"num": len(parts), "axis": axis} if builtin == "UNPACK" else {"numSplits": len(parts)}
        inputs = {
            "SPLIT": lambda: [m.ints(axis), x],
            "SPLIT_V": lambda: [x, m.ints([p[axis] for p in parts[:-1]] + [-1]), m.ints(axis)],
            "UNPACK": lambda: [x],
        }[builtin]()
        m.op(builtin, inputs, outs[0], options, outs[1:], **fields)
        at = axis % len(parts[0])
        total = sum(p[at] for p in parts)
        whole = m.tensor((*parts[0][:at], total, *parts[0][at + 1 :]))
        return m.op("CONCATENATION", outs[::-1], whole, "ConcatenationOptions", axis=at)

    return build


def pack(axis: int, after: tuple[int, ...]) -> Case:
    def build(m: ModelMaker) -> int:
        inputs = [m.input((2, 3, 4)) for _ in range(3)]
        return m.op("PACK", inputs, m.tensor(after), "PackOptions", axis=axis, valuesCount=3)

    return build


MOVEMENT_CASES: dict[str, Case] = {
    "strided_slice": strided((1, 6, 5, 4), (1, 2, 3, 4), [0, 1, 1, 0], [1, 5, 4, 4], [1, 2, 1, 1]),
    "strided_slice_masks": strided(
        (1, 6, 5, 4), (1, 6, 3), [0, 0, 3, 1], [0, 0, 4, 0], [1, 1, 1, 1], beginMask=3, endMask=11, shrinkAxisMask=4
    ),
    "strided_slice_backwards": strided((1, 6, 5, 4), (1, 3, 5, 2), [0, -1, 4, -2], [1, -7, -99, -4], [1, -2, -1, -1]),
    "strided_slice_beyond": strided((1, 6, 5), (1, 4), [0, 2, -1], [9, 99, 0], [1, 1, 1], shrinkAxisMask=4),
    "strided_slice_ellipsis": strided((2, 6, 5, 4), (2, 6, 5, 2), [0, 1], [0, 3], [1, 1], ellipsisMask=1),
    "strided_slice_ellipsis_inside": strided(
        (2, 6, 5, 4), (1, 6, 5), [1, 0, 2], [2, 0, 3], [1, 1, 1], ellipsisMask=2, shrinkAxisMask=4
    ),
    "strided_slice_new_axes": strided((6, 5), (1, 3, 1, 5), [0, 1, 0], [0, 4, 0], [1, 1, 1], newAxisMask=5),
    "strided_slice_new_axis_and_ellipsis": strided(
        (6, 5), (6, 5, 1), [0, 0], [0, 0], [1, 1], newAxisMask=2, ellipsisMask=1
    ),
    "gather_nd": moved("GATHER_ND", (5, 4, 3), (2, 3), [[4, 0], [1, 3]]),
    "gather_nd_elements": moved("GATHER_ND", (5, 4), (2, 2), [[[4, 0], [1, 3]], [[0, 0], [2, 1]]]),
    "gather_nd_blocks": moved("GATHER_ND", (5, 4, 3), (3, 4, 3), [[4], [0], [4]]),
    "slice": moved("SLICE", (1, 6, 5, 4), (1, 3, 4, 4), [0, 2, 1, 0], [1, 3, -1, 4], options="SliceOptions"),
    "split_channels": several("SPLIT", (1, 4, 3, 6), [(1, 4, 3, 2)] * 3, 3),
    "split_rows": several("SPLIT", (1, 4, 3, 6), [(1, 2, 3, 6)] * 2, -3),
    "split_v": several("SPLIT_V", (1, 4, 3, 7), [(1, 4, 3, 2), (1, 4, 3, 1), (1, 4, 3, 4)], 3),
    "unpack": several("UNPACK", (1, 4, 3, 6), [(1, 3, 6)] * 4, 1),
    "unpack_last": several("UNPACK", (2, 4, 3), [(2, 4)] * 3, -1),
    "pack": pack(0, (3, 2, 3, 4)),
    "pack_inside": pack(2, (2, 3, 3, 4)),
    "pack_last": pack(-1, (2, 3, 4, 3)),
    "gather": moved("GATHER", (5, 4, 3), (6, 4, 3), [4, 0, 0, 2, 1, 4], options="GatherOptions", axis=0),
    "gather_inside": moved("GATHER", (2, 5, 3), (2, 2, 2, 3), [[4, 0], [1, 1]], options="GatherOptions", axis=-2),
    "gather_one": moved("GATHER", (2, 5, 3), (2, 5), 2, options="GatherOptions", axis=2),
    "reverse": moved("REVERSE_V2", (2, 5, 3), (2, 5, 3), [1]),
    "reverse_last": moved("REVERSE_V2", (2, 5, 3), (2, 5, 3), [-1]),
    "tile": moved("TILE", (2, 3, 4), (2, 6, 12), [1, 2, 3]),
    "broadcast_to": moved("BROADCAST_TO", (3, 1, 4), (2, 3, 5, 4), [2, 3, 5, 4]),
    "mirror_pad_reflect": moved(
        "MIRROR_PAD", (1, 4, 3, 2), (1, 8, 6, 2), [[0, 0], [3, 1], [1, 2], [0, 0]], options="MirrorPadOptions", mode=0
    ),
    "mirror_pad_symmetric": moved(
        "MIRROR_PAD", (1, 4, 3, 2), (1, 9, 7, 2), [[0, 0], [4, 1], [1, 3], [0, 0]], options="MirrorPadOptions", mode=1
    ),
    "depth_to_space": moved("DEPTH_TO_SPACE", (2, 3, 2, 8), (2, 6, 4, 2), options="DepthToSpaceOptions", blockSize=2),
    "space_to_depth": moved("SPACE_TO_DEPTH", (2, 6, 4, 2), (2, 3, 2, 8), options="SpaceToDepthOptions", blockSize=2),
    "space_to_batch": moved("SPACE_TO_BATCH_ND", (1, 5, 4, 3), (6, 3, 2, 3), [2, 3], [[1, 0], [0, 2]]),
    "space_to_batch_sequence": moved("SPACE_TO_BATCH_ND", (2, 6, 3), (4, 3, 3), [2], [[0, 0]]),
    "batch_to_space": moved("BATCH_TO_SPACE_ND", (12, 3, 2, 3), (2, 5, 4, 3), [2, 3], [[1, 0], [0, 2]]),
    "batch_to_space_sequence": moved("BATCH_TO_SPACE_ND", (4, 3, 3), (2, 6, 3), [2], [[0, 0]]),
}

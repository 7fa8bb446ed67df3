"""The models that the benchmarks run on: the ready example, and the real ones where they are beside the checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "models"
EXAMPLE = ROOT / "tinycompile" / "zoo" / "digits_qdq.onnx"
STEMS = (
    "mlperf_ad01_int8",
    "mlperf_kws_int8",
    "mlperf_resnet8_int8",
    "mlperf_vww96_int8",
    "mcunet_vww",
    "micro_kws_m_qdq",
)


def available() -> list[Path]:
    """Files that exist here, smallest first."""
    found = [p for s in STEMS for p in (SHARED / f"{s}.tflite", SHARED / f"{s}.onnx") if p.is_file()]
    return [EXAMPLE, *found]

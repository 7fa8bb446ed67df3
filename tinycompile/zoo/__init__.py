"""Models that the project makes itself.

One is committed, a CNN that reads handwritten digits: ``python -m tinycompile.zoo.digits`` trains it again and writes
the same file. `tinycompile.zoo.architectures` builds well-known networks with seeded weights as graphs, to measure
with. Importing this package loads no library.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinycompile.zoo.digits_data import Images, Labels


def digits_model_path() -> Path:
    """The committed QDQ model: float32 [1,1,8,8] NCHW in 0..1 -> float32 [1,10] probabilities, int8 between."""
    return Path(__file__).parent / "digits_qdq.onnx"


def digits_test_set() -> tuple[Images, Labels]:
    """Images float32 [N,1,8,8] in 0..1 and labels int64 [N] that the model has not seen; needs scikit-learn."""
    from tinycompile.zoo.digits_data import load_split

    test = load_split().test
    return test.images, test.labels

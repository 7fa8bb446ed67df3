"""The handwritten digits of scikit-learn, split once and for all into training, validation and test images.

1797 grey images of 8x8 (E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998). The split is
the same on every machine, so that the committed model is always tested on images that it has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ToolchainError

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
SPLIT_SEED = 20
TEST_IMAGES = VALIDATION_IMAGES = 360


@dataclass(frozen=True)
class LabelledImages:
    """`images` float32 [N,1,8,8] NCHW in 0..1, `labels` int64 [N] in 0..9."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class Split:
    """Training (1077 images), validation (360) and test (360): disjoint, and all of the data together."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages


def load_split() -> Split:
    """The three parts of the data set. Raises ToolchainError when scikit-learn, which ships it, is not installed."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ToolchainError(
            "scikit-learn, which ships the images of digits, is not installed",
            "tinycompile.zoo.digits",
            "pip install scikit-learn",
        ) from None
    data = load_digits()
    images = (data.images[:, np.newaxis] / 16).astype(np.float32)
    labels = data.target.astype(np.int64)
    # RandomState and not default_rng: NumPy promises that this stream never changes.
    order = np.random.RandomState(SPLIT_SEED).permutation(len(images))
    parts = np.split(order, [TEST_IMAGES, TEST_IMAGES + VALIDATION_IMAGES])
    test, validation, train = (LabelledImages(images[part], labels[part]) for part in parts)
    return Split(train, validation, test)

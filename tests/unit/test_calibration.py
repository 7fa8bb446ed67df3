"""Samples from files, folders and functions; what does not fit is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinycompile.errors import UsageError
from tinycompile.ir.graph import Tensor
from tinycompile.ir.types import DType
from tinycompile.quantize.calibration import read_samples, split_held_out

X, Y = Tensor("x", (1, 2, 3), DType.FLOAT32), Tensor("y", (4,), DType.FLOAT32)
STACK = np.arange(30, dtype=np.float32).reshape(5, 1, 2, 3)
OTHER = np.arange(20, dtype=np.float32).reshape(5, 4)


@pytest.mark.parametrize("name", ["x", "in_0", "in_0_anything", "data"])
@pytest.mark.parametrize(
    "value", [STACK, STACK.reshape(5, 2, 3), STACK.astype(np.float64)], ids=["stack", "batch", "double"]
)
def test_one_input(name: str, value: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **{name: value})
    samples = read_samples(str(tmp_path / "d.npz"), [X], 100)
    assert [s["x"].tolist() for s in samples] == STACK.tolist()
    assert samples[0]["x"].dtype == np.float32


def test_several_inputs_and_a_limit(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", y=OTHER, x=STACK)
    samples = read_samples(str(tmp_path / "d.npz"), [X, Y], 2)
    assert [s["y"].tolist() for s in samples] == [OTHER[0].tolist(), OTHER[2].tolist()]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for k in (2, 0, 1):
        np.save(tmp_path / f"{k}.npy", STACK[k])
    (tmp_path / "notes.txt").write_text("no sample")
    assert [s["x"][0, 0, 0] for s in read_samples(str(tmp_path), [X], 10)] == [0, 6, 12]
    assert [s["x"][0, 0, 0] for s in read_samples(str(tmp_path), [X], 2)] == [0, 6]


def test_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_samples.py").write_text(
        "import numpy as np\n"
        "def both():\n    for k in range(9):\n        yield {'x': np.full((2, 3), k / 2), 'y': np.zeros(4)}\n"
        "def alone():\n    return [np.zeros((1, 2, 3), np.float32)] * 3\n"
        "def nothing():\n    return None\n"
    )
    monkeypatch.chdir(tmp_path)
    assert [s["x"][0, 0, 0] for s in read_samples("my_samples:both", [X, Y], 3)] == [0.0, 0.5, 1.0]
    assert len(read_samples("my_samples:alone", [X], 10)) == 3
    for source in ("my_samples:nothing", "my_samples:missing", "no_such_module:f"):
        with pytest.raises(UsageError):
            read_samples(source, [X], 3)


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"x": STACK.astype(np.uint8)}, "takes float32"),
        ({"x": STACK[:, :, :1]}, "of shape"),
        ({"x": np.full_like(STACK, np.nan)}, "not finite"),
        ({"a": STACK, "b": STACK}, "no array for input"),
        ({"x": STACK[:0]}, "no samples"),
    ],
)
def test_what_does_not_fit_is_refused(arrays: dict[str, np.ndarray], what: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(UsageError, match=what):
        read_samples(str(tmp_path / "d.npz"), [X], 10)


def test_unreadable_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(b"PK nonsense")
    (tmp_path / "empty").mkdir()
    for name in ("d.npz", "missing.npz", "empty"):
        with pytest.raises(UsageError):
            read_samples(str(tmp_path / name), [X], 10)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError):
        read_samples(str(tmp_path / "objects.npy"), [X], 10)


def test_every_fifth_sample_is_held_out() -> None:
    samples = [{"x": np.array(k)} for k in range(11)]
    kept, held_out = split_held_out(samples)
    assert [int(s["x"]) for s in held_out] == [4, 9]
    assert len(kept) == 9
    assert split_held_out(samples[:3]) == (samples[:3], samples[:3])

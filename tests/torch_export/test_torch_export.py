"""tinycompile.torch: modules exported, compiled in float and run as C, against PyTorch; and the advice."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import tinycompile
import tinycompile.torch
from tinycompile.emulate.host import run_host
from tinycompile.errors import ToolchainError, UnsupportedError
from tinycompile.torch import ExportWarning, advise, export

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'tinycompile[torch]')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install 'tinycompile[torch]')")
nn = torch.nn

ROOT = Path(__file__).parents[2]
RELATIVE = 1e-4


def separable(inputs: int, outputs: int) -> Any:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs),
        nn.BatchNorm2d(inputs),
        nn.ReLU6(),
        nn.Conv2d(inputs, outputs, 1),
        nn.Hardswish(),
    )


class Attention(nn.Module):  # type: ignore[misc, name-defined]
    """A pre-norm block: attention, then a GELU layer, both residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x: Any) -> Any:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.layers(self.norm2(x))


class Last(nn.Module):  # type: ignore[misc, name-defined]
    """The outputs of a recurrent layer, without its state."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


NETS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3),
            nn.LeakyReLU(0.1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(12, 5),
            nn.Softmax(1),
        ),
        (1, 3, 20, 16),
    ),
    "depthwise separable": (lambda: nn.Sequential(separable(4, 8), separable(8, 6)), (1, 4, 9, 8)),
    "attention": (Attention, (1, 6, 16)),
    "decoder": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 6, 3, padding=1),
            nn.Upsample(scale_factor=2),
            nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1),
            nn.Sigmoid(),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(4, 2, 1),
        ),
        (1, 4, 5, 4),
    ),
    "gru": (lambda: Last(nn.GRU(8, 16, batch_first=True)), (1, 5, 8)),
    "lstm": (lambda: Last(nn.LSTM(8, 16, batch_first=True)), (1, 5, 8)),
}
# Operators that may have no importer: then they are refused by name.
RECURRENT = {"gru": "GRU", "lstm": "LSTM"}


def made(name: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    make, shape = NETS[name]
    module = make()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return module, torch.randn(shape)


@pytest.mark.parametrize("name", NETS)
def test_exported_modules_compile_and_run_as_in_pytorch(name: str, tmp_path: Path) -> None:
    module, x = made(name)
    module.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExportWarning)
        export(module, (x,), tmp_path / "net.onnx")
    assert all(part.training for part in module.modules())
    try:
        built = tinycompile.build(tmp_path / "net.onnx", "host", out=tmp_path / "out")
    except UnsupportedError as error:
        if f"operator {RECURRENT.get(name)}" in error.what:
            return
        raise
    with torch.no_grad():
        want = module.eval()(x).numpy()
    got = run_host(tmp_path / "out", built.plan.interface, [x.numpy()[None]]).outputs[0].reshape(want.shape)
    assert np.abs(got - want).max() <= RELATIVE * np.abs(want).max()


def test_a_module_that_cannot_be_exported_is_refused() -> None:
    class Branch(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedError, match="PyTorch cannot export the module"):
        export(Branch(), (torch.zeros(1, 4),))


def test_a_batch_is_warned_of() -> None:
    with pytest.warns(ExportWarning, match=r"more than one sample per inference: input 'x' \[2, 3, 4\]"):
        export(nn.Identity(), (torch.zeros(2, 3, 4),), input_names=["x"], output_names=["y"])


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ToolchainError, match="onnxscript is not installed"):
        export(nn.Identity(), (torch.zeros(1),))


def model(node: Any, shape: Sequence[int | str], elem: int = TensorProto.FLOAT, out: int = TensorProto.FLOAT) -> Any:
    ports = [helper.make_tensor_value_info("x", elem, shape)], [helper.make_tensor_value_info("y", out, None)]
    return helper.make_model(helper.make_graph([node], "g", *ports))


UNFORTUNATE = {
    "dynamic shapes: input 'x' [None, 4]": model(helper.make_node("Relu", ["x"], ["y"]), ["n", 4]),
    "operators that are not ONNX's own: pkg.torch.aten_x": model(
        helper.make_node("aten_x", ["x"], ["y"], domain="pkg.torch"), [1]
    ),
    "control flow: Loop 'y'": model(helper.make_node("Loop", ["x"], ["y"]), [1]),
    "floats that are not float32: input 'x' of float16": model(
        helper.make_node("Relu", ["x"], ["y"]), [1], TensorProto.FLOAT16
    ),
    "int64 values computed at run time: ArgMax 'y'": model(
        helper.make_node("ArgMax", ["x"], ["y"]), [1, 4], out=TensorProto.INT64
    ),
    "maps permuted between channels first and channels last: Transpose 'y'": model(
        helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1]), [1, 2, 3, 4]
    ),
}


@pytest.mark.parametrize("start", UNFORTUNATE)
def test_advice(start: str) -> None:
    (advice,) = advise(UNFORTUNATE[start])
    assert str(advice).startswith(start)
    assert advice.fix


def test_the_documented_script_runs_on_an_emulated_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("unicorn", reason="unicorn is not installed")
    pytest.importorskip("ziglang", reason="ziglang is not installed")
    script = (ROOT / "docs" / "pytorch.md").read_text().split("```python\n")[1].split("```")[0]
    assert len([line for line in script.splitlines() if line.strip()]) < 20
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "docs/pytorch.md", "exec"), {})
    measured, difference = capsys.readouterr().out.splitlines()[-2:]
    assert measured.startswith("arena")
    assert float(difference.rsplit(maxsplit=1)[-1]) < 0.05  # of outputs about 0.5 in size, in int8

"""TVM Relax modules as graphs: what TVM's importers make of PyTorch modules and ONNX files, compiled and run as C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tinycompile
from tinycompile.emulate.host import run_host
from tinycompile.errors import ShapeError, UnsupportedError, UsageError
from tinycompile.frontends.relax import load_relax, relax_to_onnx

tvm = pytest.importorskip("tvm", reason="TVM is not installed (pip install 'tinycompile[tvm]')")
relax = tvm.relax

MODELS = Path(__file__).parents[3] / "shared" / "models"
RELATIVE = 1e-4


def run_c(module: Any, x: Any, folder: Path) -> Any:
    """The outputs of the compiled module, sanitised."""
    onnx.save(relax_to_onnx(module), folder / "net.onnx")
    built = tinycompile.build(folder / "net.onnx", "host", out=folder / "out")
    return run_host(folder / "out", built.plan.interface, [x]).outputs


def close(got: Any, want: Any) -> bool:
    return bool(np.abs(got.reshape(want.shape) - want).max() <= RELATIVE * np.abs(want).max())


@pytest.mark.parametrize("name", ["cnn", "depthwise separable", "attention", "decoder"])
def test_torch_importer(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from tvm.relax.frontend.torch import from_exported_program

    torch.manual_seed(0)
    module, x = nets(torch)[name]
    with torch.no_grad():
        want = module.eval()(x).numpy()
    made = from_exported_program(torch.export.export(module, (x,)))
    assert close(run_c(made, x.numpy()[None], tmp_path)[0], want)


def nets(torch: Any) -> dict[str, tuple[Any, Any]]:
    nn = torch.nn
    separable = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 6, 1)
    )
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(8, 5), nn.Softmax(1))
    cnn = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), *head)
    decoder = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1),
        nn.Sigmoid(),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    )

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.attention = nn.LayerNorm(16), nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            y = self.norm(x)
            return x + self.attention(y, y, y, need_weights=False)[0]

    return {
        "cnn": (cnn, torch.randn(1, 3, 20, 16)),
        "depthwise separable": (separable, torch.randn(1, 4, 9, 8)),
        "attention": (Attention(), torch.randn(1, 6, 16)),
        "decoder": (decoder, torch.randn(1, 4, 5, 4)),
    }


@pytest.mark.parametrize("kept", [False, True], ids=["constants", "bound parameters"])
def test_onnx_importer_on_a_shared_model(kept: bool, tmp_path: Path) -> None:
    path = MODELS / "micro_kws_m_float.onnx"
    if not path.is_file():
        pytest.skip("the shared models are not at hand")
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(path), keep_params_in_input=kept)
    golden = np.load(path.with_suffix(".npz"))
    x, want = (golden[name][:2] for name in golden.files)
    assert close(run_c(module, x, tmp_path)[0], want)


def built(shape: tuple[Any, ...], body: Any) -> Any:
    """A module of one input `x` whose output `body` makes of it."""
    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType(shape, "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            out = builder.emit_output(body(builder, x))
        builder.emit_func_output(out)
    return builder.finalize()


def test_tuples_and_slices(tmp_path: Path) -> None:
    def body(b: Any, x: Any) -> Any:
        op = relax.op
        parts = b.emit(op.split(b.emit(op.clip(x, -0.5, 0.5)), 2, axis=2))
        padded = b.emit(op.nn.pad(parts[0], [0, 0, 1, 2, 0, 0]))
        return padded, b.emit(op.strided_slice(parts[1], [1], [0], [4], [2]))

    x = np.random.default_rng(0).standard_normal((1, 1, 4, 6)).astype(np.float32)
    padded, sliced = run_c(built((1, 4, 6), body), x, tmp_path)
    clipped = np.clip(x[0], -0.5, 0.5)
    assert padded.tobytes() == np.pad(clipped[:, :, :3], ((0, 0), (1, 2), (0, 0))).tobytes()
    assert sliced.tobytes() == clipped[:, ::2, 3:].tobytes()


def test_unsupported_operators_are_all_named() -> None:
    module = built((1, 4), lambda b, x: b.emit(relax.op.tan(b.emit(relax.op.acosh(x)))))
    with pytest.raises(UnsupportedError, match=r"operator relax\.acosh; operator relax\.tan"):
        load_relax(module)


def test_unsupported_attributes_are_named() -> None:
    module = built((1, 3, 5, 5), lambda b, x: b.emit(relax.op.nn.max_pool2d(x, (2, 2), (2, 2), ceil_mode=True)))
    with pytest.raises(UnsupportedError, match=r"nn\.max_pool2d with ceil_mode"):
        load_relax(module)


def run_tvm(module: Any, x: Any) -> Any:
    """What TVM's own code makes of one sample."""
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    return machine["main"](tvm.runtime.tensor(x)).numpy()


def resized(old: int, new: int, coordinates: str, method: str) -> Any:
    def body(b: Any, x: Any) -> Any:
        how = {"method": "nearest_neighbor", "layout": "NCHW", "rounding_method": method}
        return b.emit(relax.op.image.resize2d(x, (new, new), coordinate_transformation_mode=coordinates, **how))

    return built((1, 2, old, old), body)


def test_nearest_resize_takes_the_elements_that_tvm_takes(tmp_path: Path) -> None:
    """TVM moves coordinates by 1e-5 before it rounds them down or up: where that matters the operator is refused."""
    refused = 0
    for k, (old, new) in enumerate([(4, 8), (6, 3), (5, 7), (7, 9), (10, 22)]):
        for coordinates in ("asymmetric", "half_pixel"):
            for method in ("floor", "ceil"):
                module, folder = resized(old, new, coordinates, method), tmp_path / f"{k}{coordinates}{method}"
                folder.mkdir()
                x = np.random.default_rng(0).standard_normal((1, 1, 2, old, old)).astype(np.float32)
                try:
                    relax_to_onnx(module)
                except UnsupportedError:
                    refused += 1
                    continue
                got = run_c(module, x, folder)[0]
                assert got.tobytes() == run_tvm(module, x[0]).tobytes(), (old, new, coordinates, method)
    assert 1 <= refused <= 6


def test_a_coordinate_that_tvm_rounds_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The control: without the refusal other elements are taken."""
    module = resized(7, 9, "half_pixel", "floor")
    with pytest.raises(UnsupportedError, match="floor of coordinates"):
        relax_to_onnx(module)
    monkeypatch.setattr("tinycompile.frontends.relax.table._beyond_epsilon", lambda *_: True)
    x = np.random.default_rng(0).standard_normal((1, 1, 2, 7, 7)).astype(np.float32)
    assert run_c(module, x, tmp_path)[0].tobytes() != run_tvm(module, x[0]).tobytes()


def test_loops_that_tvm_generated_are_refused_by_name() -> None:
    """Also when their name is that of a function: Clip as TVM's ONNX importer makes it."""
    module = built((1, 4), lambda b, x: b.emit_te(lambda a: tvm.topi.maximum(a, 0.0), x, primfunc_name_hint="maximum"))
    with pytest.raises(UnsupportedError, match=r"relax\.call_tir of maximum"):
        load_relax(module)


def test_symbolic_shapes_are_refused() -> None:
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    from tvm.relax.frontend.onnx import from_onnx

    with pytest.raises(ShapeError, match="is not static"):
        load_relax(from_onnx(model))


def test_parameters_by_name() -> None:
    module = built((1, 4), lambda b, x: b.emit(relax.op.nn.relu(x)))
    with pytest.raises(UsageError, match="no parameter 'w'"):
        relax_to_onnx(module, {"w": np.zeros(1, np.float32)})

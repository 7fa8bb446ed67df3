"""Small ONNX models made in code, their quantisation by ONNX Runtime, and graphs run by operator references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinycompile.frontends import load_model
from tinycompile.ir.graph import Graph
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.registry import OPERATORS, operator
from tinycompile.passes import PASSES
from tinycompile.passes.lowering_check import check_supported

Array = np.ndarray[Any, Any]


class ModelMaker:
    """Nodes and random initializers of a float model with one input `x`."""

    def __init__(self, shape: Sequence[int], seed: int = 0, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.opset = list(shape), opset
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def const(self, value: Array, name: str | None = None) -> str:
        name = name or f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        fan_in = max(int(np.prod(shape[1:])), 1)
        return self.const((self.rng.standard_normal(shape) * scale / np.sqrt(fan_in)).astype(np.float32))

    def node(self, kind: str, *inputs: str, **attrs: Any) -> str:
        out = attrs.pop("out", f"{kind.lower()}_{len(self.nodes)}")
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=f"n{len(self.nodes)}", **attrs))
        return str(out)

    def qdq(self, x: str, scale: float = 0.03, zero_point: int = 5, dtype: Any = np.int8) -> str:
        """`x` quantised and dequantised."""
        parameters = self.const(np.float32(scale)), self.const(np.asarray(dtype(zero_point)))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *parameters), *parameters)

    def qweight(self, *shape: int, scale: float = 0.01, axis: int | None = None, dtype: Any = np.int8) -> str:
        """Random dequantised weights, per tensor or along `axis`."""
        info = np.iinfo(dtype)
        data = self.rng.integers(info.min, info.max + 1, shape).astype(dtype)
        count = () if axis is None else (shape[axis],)
        scales = np.asarray(self.rng.uniform(scale, 2 * scale, count), dtype=np.float32)
        names = self.const(data), self.const(scales), self.const(np.zeros(count, dtype=dtype))
        return self.node("DequantizeLinear", *names, **({} if axis is None else {"axis": axis}))

    def model(self, *outputs: str, elem: int = TensorProto.FLOAT) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "made",
            [helper.make_tensor_value_info("x", elem, self.shape)],
            [helper.make_value_info(o, helper.make_tensor_type_proto(elem, None)) for o in outputs],
            self.initializers,
        )
        domains = {n.domain for n in self.nodes} - {""}
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def samples(shape: Sequence[int], count: int, seed: int = 1) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(count)]


def quantise(
    model: Any, path: Path, shape: Sequence[int], fmt: str, activation: str, weight: str, per_channel: bool
) -> Path:
    """The model quantised by onnxruntime's static quantiser into `path`."""
    q = pytest.importorskip("onnxruntime.quantization", reason="onnxruntime is not installed")

    class Reader(q.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.feeds = iter([{"x": s} for s in samples(shape, 8)])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    wide = activation.endswith("16")
    if wide:  # the first opset with these types
        model.opset_import[0].version, model.ir_version = 21, 10
    source = path.with_suffix(".float.onnx")
    onnx.save(model, source)
    q.quantize_static(
        source,
        path,
        Reader(),
        quant_format=q.QuantFormat[fmt],
        activation_type=q.QuantType[activation],
        weight_type=q.QuantType[weight],
        per_channel=per_channel,
        # onnxruntime's AVX2 kernels saturate sums of two uint8 x int8 products unless weights have 7 bits.
        reduce_range=activation != weight and not wide,
        extra_options={"ActivationSymmetric": wide},
    )
    return path


def lower(path: Path, **options: Any) -> Graph:
    """The file imported and lowered by all passes, every operator with a kernel."""
    graph = load_model(path, **options)
    verify_graph(graph, "import", OPERATORS)
    for name, run in PASSES:
        graph = run(graph)
        verify_graph(graph, name, OPERATORS)
    check_supported(graph)
    return graph


def evaluate(graph: Graph, inputs: Sequence[Array], known: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Every tensor's value by operator references. Ops read values of `known` instead of computed ones."""
    values: dict[str, Array] = dict(zip(graph.inputs, inputs, strict=True))
    results = dict(values)
    for node in graph.nodes():
        given = [None if t is None or t.is_const else values[t.name] for t in node.inputs]
        result = operator(node.op.kind).reference(node, given).reshape(node.out.shape)
        results[node.out.name] = result
        values[node.out.name] = result if known is None else known.get(node.out.name, result)
    return results


def runtime(model: Any | Path, inputs: Mapping[str, Array], extra: Sequence[str] = ()) -> list[Array]:
    """Outputs of onnxruntime without graph optimisations, then the tensors named in `extra`."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if isinstance(model, Path):
        model = onnx.load(model)
    for name in extra:
        model.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(v) for v in session.run(None, dict(inputs))]


def check(maker: ModelMaker, out: str, folder: Path, lsb: float = 1.01, runs: int = 4) -> Graph:
    """The lowered model, whose output must be onnxruntime's within `lsb` steps of its last quantisation."""
    model = maker.model(out)
    path = folder / "checked.onnx"
    onnx.save(model, path)
    graph = lower(path)
    last = graph.producers()[graph.outputs[0]]
    quant = graph.tensors[last.inputs[0]].quant
    assert quant is not None
    outputs = set()
    for x in samples(maker.shape, runs, seed=11):
        (want,) = runtime(path, {"x": x * 3})
        got = evaluate(graph, [x * 3])[graph.outputs[0]]
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= lsb * quant.scale[0]
        outputs.add(want.tobytes())
    assert len(outputs) > 1, "the output does not depend on the input"
    return graph


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]

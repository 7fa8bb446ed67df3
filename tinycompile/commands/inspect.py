"""``tinycompile inspect``."""

from __future__ import annotations

import json

import click

from tinycompile.commands import options
from tinycompile.commands.lists import SCHEMA_VERSION, table
from tinycompile.errors import one_line
from tinycompile.ir.graph import Graph, Node, Tensor
from tinycompile.ops.registry import OPERATORS
from tinycompile.pipeline import import_model


def _quant(tensor: Tensor) -> str:
    if tensor.quant is None:
        return "-"
    if tensor.quant.per_channel:
        return f"{len(tensor.quant.scale)} scales"
    return f"{tensor.quant.scale[0]:.6g} ({tensor.quant.zero_point[0]:+d})"


def _weight_bits(node: Node) -> int | None:
    """Of weights that are stored narrower than their type; None where there are none."""
    return next((t.quant.bits for t in node.inputs if t is not None and t.quant is not None and t.quant.bits), None)


def _layer_bytes(node: Node) -> int:
    """Run-time tensors that this layer alone needs together."""
    tensors = {t.name: t.nbytes for t in (*node.inputs, *node.outputs) if t is not None and not t.is_const}
    return sum(tensors.values())


def _port(graph: Graph, name: str) -> str:
    t = graph.tensors[name]
    return f"{one_line(t.name, 60)} {t.dtype.value} {list(t.shape)} {_quant(t)}"


@click.command()
@click.argument("model")
@options.model_options
@options.json_option
def inspect(
    model: str,
    io: str,
    name: str | None,
    shapes: tuple[str, ...],
    states: tuple[str, ...],
    dynamic_range: str,
    dump_after: str | None,
    as_json: bool,
) -> None:
    """The lowered graph of MODEL: operators, shapes, quantisation, MACs, and the memory each layer needs by itself.

    \b
    tinycompile inspect model.tflite
    tinycompile inspect model.onnx --dump-after import
    """
    graph = import_model(
        options.model_path(model),
        options.import_options(io, name, shapes, states, dynamic_range),
        options.dumper(dump_after),
    )
    nodes = graph.nodes()
    layers = [
        {
            "index": k,
            "kind": n.op.kind,
            "source": str(n.op.source),
            "output": n.out.name,
            "shape": list(n.out.shape),
            "dtype": n.out.dtype.value,
            "macs": OPERATORS[n.op.kind].macs(n),
            "weight_bytes": sum(t.nbytes for t in n.inputs if t is not None and t.is_const),
            "weight_bits": _weight_bits(n),
            "layer_bytes": _layer_bytes(n),
        }
        for k, n in enumerate(nodes)
    ]
    if as_json:
        ports = {"inputs": list(graph.inputs), "outputs": list(graph.outputs)}
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "model": graph.name, **ports, "layers": layers}))
        return
    rows = [
        (
            str(k),
            n.op.kind,
            "x".join(str(d) for d in n.out.shape),
            n.out.dtype.value,
            _quant(n.out),
            f"{layer['macs']:,}",
            f"{layer['weight_bytes']:,}" + (f" ({layer['weight_bits']} bits)" if layer["weight_bits"] else ""),
            f"{layer['layer_bytes']:,}",
            one_line(str(n.op.source), 44),
        )
        for k, (n, layer) in enumerate(zip(nodes, layers, strict=True))
    ]
    click.echo(f"{graph.name} ({graph.source_format}): {len(nodes)} operators")
    for word, names in (("input", graph.inputs), ("output", graph.outputs)):
        for port in names:
            click.echo(f"  {word:<7}{_port(graph, port)}")
    header = ("", "operator", "output", "type", "scale (zero)", "MACs", "weights B", "layer B", "from")
    click.echo(table(header, rows))
    macs = sum(OPERATORS[n.op.kind].macs(n) for n in nodes)
    weights = sum(t.nbytes for t in graph.tensors.values() if t.is_const)
    click.echo(
        f"total: {macs:,} MACs, {weights:,} bytes of constants; largest layer {max(map(_layer_bytes, nodes)):,} B"
    )

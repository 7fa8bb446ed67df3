"""``tinycompile quantize``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tinycompile.commands import options
from tinycompile.commands.progress import working
from tinycompile.commands.quantizing import QuantizeRequest, quantize_options, quantized_file
from tinycompile.errors import UsageError, one_line
from tinycompile.report.quantization import print_quantization, render_page, to_json
from tinycompile.target import load_target


@click.command()
@click.argument("model")
@quantize_options
@options.budget_options
@options.target_option
@options.shape_option
@click.option("-o", "--output", metavar="FILE.onnx", help="The file to write.  [default: MODEL_int8.onnx, here]")
@click.option("--report", "page", metavar="FILE.html", help="Also write the report as a page with a plot.")
@options.json_option
def quantize(
    model: str,
    request: QuantizeRequest,
    sram: str | None,
    flash: str | None,
    target: str,
    shapes: tuple[str, ...],
    output: str | None,
    page: str | None,
    as_json: bool,
) -> None:
    """Make an int8 model of the float MODEL (.onnx or .tflite): a standard QDQ ONNX file, which onnxruntime runs too.

    \b
    tinycompile quantize model.onnx --calibration samples.npz -o model_int8.onnx
    tinycompile quantize model.tflite --calibration folder/ --calibrator percentile --report report.html
    tinycompile quantize model.onnx --calibration my_data:samples --metric my_data:accuracy
    tinycompile quantize model.onnx --calibration samples.npz --min-sqnr 30 --flash 512k
    tinycompile quantize model.onnx --calibration samples.npz --weights int4

    Weights become int8 (or int4: --weights) per output channel, activations int8 per tensor. The ranges of activations
    come from samples: some 100 inputs like those the device will see, scaled as in training. A function gives them too:

    \b
    # my_data.py
    def samples():
        for image in load_images("calibration/"):
            yield {"input": image[None].astype("float32") / 255}

    The report compares int8 with float on samples that were not calibrated with: the signal to quantisation noise ratio
    (SQNR; 20 dB is a tenth in amplitude, 40 dB a hundredth) of the outputs and of every layer, and how often the
    largest output is the same. A layer with little SQNR of its own is where to look: ranges with outliers, channels of
    very different size. --metric is called as f(outputs, inputs), lists of dictionaries of arrays, for float and for
    int8. What has no int8 kernel stays float, and is named; --min-sqnr and --min-top1 keep more in float, within --sram
    and --flash. Where int8 does not fit in --flash (constants, an estimate of the code), weights become int4, in the
    layers that lose least by it.

    Then build it: tinycompile build model_int8.onnx -o out/. Or both at once: tinycompile build model.onnx --quantize
    --calibration samples.npz -o out/.
    """
    path = options.model_path(model)
    place = Path(output or f"{path.stem}_int8.onnx")
    with working(f"quantising {one_line(model, 60)}") as tell:
        data, report = quantized_file(
            path,
            request,
            options.import_options("model", None, shapes).shapes,
            load_target(target),
            options.budgets(sram, flash),
            tell,
        )
    try:
        place.write_bytes(data)
        if page is not None:
            Path(page).write_text(render_page(report), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", str(place), "give a path that can be written") from None
    if as_json:
        click.echo(json.dumps({**to_json(report), "output": str(place)}))
    else:
        click.echo(print_quantization(report), nl=False)
        click.echo(f"\nwritten to {place}: {len(data):,} bytes; build it with `tinycompile build {place}`")

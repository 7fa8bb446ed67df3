"""The operators, by kind. Explicit: an operator exists when it is listed here or by an extension (`ops.extensions`)."""

from __future__ import annotations

from tinycompile.errors import InternalError
from tinycompile.ops.add import Add
from tinycompile.ops.avg_pool2d import AvgPool2d
from tinycompile.ops.avg_pool2d_of_sums import AvgPool2dOfSums
from tinycompile.ops.base import Operator
from tinycompile.ops.clip import Clip
from tinycompile.ops.concat import Concat
from tinycompile.ops.constant import Constant
from tinycompile.ops.conv2d import Conv2d
from tinycompile.ops.conv_transpose2d import ConvTranspose2d
from tinycompile.ops.crop import Crop
from tinycompile.ops.cumsum import Cumsum
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2d
from tinycompile.ops.dequantize import Dequantize
from tinycompile.ops.elementwise_operator import Elementwise
from tinycompile.ops.fully_connected import FullyConnected
from tinycompile.ops.fully_connected_rows import FullyConnectedRows
from tinycompile.ops.grid_sample import GridSample
from tinycompile.ops.hard_swish import HardSwish
from tinycompile.ops.integer_lstm import IntegerLstm
from tinycompile.ops.inverted_bottleneck import InvertedBottleneck
from tinycompile.ops.leaky_relu import LeakyRelu
from tinycompile.ops.logistic import Logistic
from tinycompile.ops.lookup import Lookup
from tinycompile.ops.matmul import Matmul
from tinycompile.ops.max_pool2d import MaxPool2d
from tinycompile.ops.max_pool2d_places import MaxPool2dPlaces
from tinycompile.ops.mean import Mean
from tinycompile.ops.mean_of_sums import MeanOfSums
from tinycompile.ops.mul import Mul
from tinycompile.ops.pad import Pad
from tinycompile.ops.prelu import Prelu
from tinycompile.ops.put import Put
from tinycompile.ops.quantize import Quantize
from tinycompile.ops.recurrent import Recurrent
from tinycompile.ops.reduce import Reduce
from tinycompile.ops.requantize import Requantize
from tinycompile.ops.requantize_sums import RequantizeSums
from tinycompile.ops.reshape import Reshape
from tinycompile.ops.resize_bilinear import ResizeBilinear
from tinycompile.ops.resize_nearest import ResizeNearest
from tinycompile.ops.row_sum import RowSum
from tinycompile.ops.select import Select
from tinycompile.ops.softmax import Softmax
from tinycompile.ops.squared_difference import SquaredDifference
from tinycompile.ops.svdf_memory import SvdfMemory
from tinycompile.ops.svdf_time import SvdfTime
from tinycompile.ops.table_function import TableFunction
from tinycompile.ops.take import Take
from tinycompile.ops.tanh import Tanh
from tinycompile.ops.top_k import TopK
from tinycompile.ops.transpose import Transpose

OPERATORS: dict[str, Operator] = {
    op.kind: op
    for op in (
        Conv2d(),
        DepthwiseConv2d(),
        ConvTranspose2d(),
        InvertedBottleneck(),
        FullyConnected(),
        Matmul(),
        AvgPool2d(),
        MaxPool2d(),
        MaxPool2dPlaces(),
        Mean(),
        RowSum(),
        MeanOfSums(),
        AvgPool2dOfSums(),
        FullyConnectedRows(),
        RequantizeSums(),
        Add(),
        Mul(),
        Prelu(),
        SquaredDifference(),
        Softmax(),
        Concat(),
        Reshape(),
        Crop(),
        Pad(),
        Transpose(),
        Logistic(),
        Tanh(),
        HardSwish(),
        LeakyRelu(),
        Lookup(),
        Clip(),
        TableFunction(),
        Quantize(),
        Dequantize(),
        Requantize(),
        ResizeNearest(),
        ResizeBilinear(),
        Recurrent(),
        IntegerLstm(),
        SvdfMemory(),
        SvdfTime(),
        Take(),
        Put(),
        TopK(),
        GridSample(),
        Elementwise(),
        Select(),
        Reduce(),
        Cumsum(),
        Constant(),
    )
}


def operator(kind: str) -> Operator:
    """The operator of a kind; the frontends make no others."""
    try:
        return OPERATORS[kind]
    except KeyError:
        raise InternalError(f"no operator of kind '{kind}'", "operator registry", "report this bug") from None

"""TFLite models with operators that keep variable tensors."""

from __future__ import annotations

from collections.abc import Callable

from tflite_models import ModelMaker

STEPS, INPUTS, HIDDEN = 4, 5, 6
TANH = 4


def lstm(
    m: ModelMaker,
    integer: bool,
    batch: int = 1,
    time_major: bool = False,
    coupled: bool = False,
    peepholes: bool = False,
    cell_clip: float = 0.0,
    cell_exponent: int = -11,
    gain: float = 0.5,
    hidden_zero_point: int = 3,
    activation: int = TANH,
) -> int:
    """The output of one LSTM over [batch,STEPS,INPUTS], or [STEPS,batch,INPUTS]."""
    shape = (STEPS, batch) if time_major else (batch, STEPS)
    float_or = {True: "INT8", False: "FLOAT32"}[integer]

    def constant(size: tuple[int, ...], bias: bool = False) -> int:
        if not integer:
            return m.tensor(size, None, dtype="FLOAT32", data=m.rng.normal(0, gain, size))
        if bias:
            return m.tensor(size, None, dtype="INT32", data=m.rng.integers(-3000, 3000, size))
        scale = float(m.rng.uniform(0.5, 1.5) * gain * 0.02)
        return m.tensor(size, scale, 0, data=m.rng.integers(-127, 128, size))

    x = m.input((*shape, INPUTS), 0.04 if integer else None, -4, float_or)
    w, r = ([constant((HIDDEN, k)) for _ in range(4)] for k in (INPUTS, HIDDEN))
    peep = [constant((HIDDEN,)) for _ in range(3)] if peepholes else [-1] * 3
    bias = [constant((HIDDEN,), True) for _ in range(4)]
    if coupled:
        w[0] = r[0] = bias[0] = peep[0] = -1
    states = [
        m.variable((batch, HIDDEN), 0.006 if integer else None, hidden_zero_point, float_or),
        m.variable((batch, HIDDEN), 2.0**cell_exponent if integer else None, 0, "INT16" if integer else "FLOAT32"),
    ]
    out = m.tensor((*shape, HIDDEN), 0.006 if integer else None, hidden_zero_point, float_or)
    inputs = [x, *w, *r, *peep, *bias, -1, -1, *states, -1, -1, -1, -1]
    options = {"fusedActivationFunction": activation, "timeMajor": time_major, "cellClip": cell_clip}
    m.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, out, "UnidirectionalSequenceLSTMOptions", **options)
    if integer:
        m.graph.operators[-1].intermediates = [m.tensor((0,), 2.0**-12, 0, "INT16") for _ in range(4)]
        m.graph.operators[-1].intermediates += [m.tensor((0,), 0.006, hidden_zero_point)]
    return out


def rnn(m: ModelMaker, batch: int = 1, time_major: bool = False, activation: int = TANH) -> int:
    """The output of one RNN of floats, over a sequence as of `lstm`."""

    def constant(*size: int) -> int:
        return m.tensor(size, None, dtype="FLOAT32", data=m.rng.normal(0, 0.4, size))

    shape = (STEPS, batch) if time_major else (batch, STEPS)
    x, state = m.input((*shape, INPUTS), None, dtype="FLOAT32"), m.variable((batch, HIDDEN), None, dtype="FLOAT32")
    inputs = [x, constant(HIDDEN, INPUTS), constant(HIDDEN, HIDDEN), constant(HIDDEN), state]
    out = m.tensor((*shape, HIDDEN), None, dtype="FLOAT32")
    options = {"fusedActivationFunction": activation, "timeMajor": time_major}
    return m.op("UNIDIRECTIONAL_SEQUENCE_RNN", inputs, out, "SequenceRNNOptions", **options)


def svdf(
    m: ModelMaker,
    integer: bool,
    rank: int = 2,
    memory: int = 4,
    batch: int = 1,
    bias: bool = True,
    gain: float = 1.0,
    activation: int = 1,
    x: int | None = None,
) -> int:
    """The output of one SVDF of four units; its input, where none is given, is one of the graph."""
    units = 4
    filters = units * rank
    floats = "INT8" if integer else "FLOAT32"

    def constant(size: tuple[int, ...], dtype: str, limit: int, scale: float) -> int:
        if not integer:
            return m.tensor(size, None, dtype="FLOAT32", data=m.rng.normal(0, 0.4 * gain, size))
        data = m.rng.integers(-limit, limit + 1, size)
        return m.tensor(size, None if dtype == "INT32" else scale, 0, dtype, data)

    if x is None:
        x = m.input((batch, INPUTS), 0.04 if integer else None, -4, floats)
    inputs = m.graph.tensors[x].shape[1]
    weights = constant((filters, inputs), "INT8", 127, 0.01 * gain)
    time = constant((filters, memory), "INT16", 32767, 2.0**-15)
    added = constant((units,), "INT32", 200000, 0) if bias else -1
    state = m.variable((batch, filters * memory), 2.0**-12 if integer else None, 0, "INT16" if integer else "FLOAT32")
    out = m.tensor((batch, units), 0.03 if integer else None, -128, floats)
    m.op("SVDF", [x, weights, time, added, state], out, "SVDFOptions", rank=rank, fusedActivationFunction=activation)
    return out


def wake_word(m: ModelMaker) -> int:
    """As the streaming keyword spotters of TFLM: SVDF layers, a fully connected one and a softmax; a call per frame."""
    first = svdf(m, True, rank=2, memory=6)
    second = svdf(m, True, rank=1, memory=5, x=first)
    scores = m.tensor((1, 3), 0.1, 5)
    m.op("FULLY_CONNECTED", [second, m.weights((3, 4)), m.bias(3)], scores, "FullyConnectedOptions")
    return m.op("SOFTMAX", [scores], m.tensor((1, 3), 1 / 256, -128), "SoftmaxOptions", beta=1.0)


KEEPING: dict[str, Callable[[ModelMaker], int]] = {
    "lstm": lambda m: lstm(m, True),
    "float_lstm": lambda m: lstm(m, False),
    "rnn": rnn,
    "svdf": lambda m: svdf(m, True),
    "float_svdf": lambda m: svdf(m, False),
    "wake_word": wake_word,
}

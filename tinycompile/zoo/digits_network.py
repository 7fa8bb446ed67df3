"""The digits network: its layers, and its training in plain NumPy.

Everything here is float64 and NHWC, and a convolution is a sum over its kernel's taps, so that forward and backward are
the same few lines for dense, depthwise and pointwise layers. Training is deterministic, and `train` rounds the result
to multiples of 2**-12: what processors and BLAS versions change in the last bits does not reach the model file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.zoo.digits_data import LabelledImages, Labels

Array = NDArray[np.float64]
EPOCHS = 80
BATCH = 32
LEARNING_RATE = 6e-3
WEIGHT_DECAY = 0.1  # also keeps ranges narrow, which int8 needs
TRAINING_SEED = 1
CLASSES = 10


@dataclass(frozen=True)
class Convolution:
    """Weights [kernel,kernel,inputs,outputs], depthwise [kernel,kernel,outputs]; padded by half of the odd kernel."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False
    relu: bool = True
    add: str = ""  # the layer whose output is added before the ReLU: a residual connection

    @property
    def weight_shape(self) -> tuple[int, ...]:
        dims = (self.outputs,) if self.depthwise else (self.inputs, self.outputs)
        return (self.kernel, self.kernel, *dims)

    def multiply(self, a: Array, b: Array) -> Array:
        return a * b if self.depthwise else a @ b


LAYERS = (
    Convolution("stem", 1, 24),
    Convolution("depthwise1", 24, 24, depthwise=True),
    Convolution("pointwise1", 24, 48, kernel=1),
    Convolution("depthwise2", 48, 48, stride=2, depthwise=True),
    Convolution("pointwise2", 48, 48, kernel=1),
    Convolution("depthwise3", 48, 48, depthwise=True),
    Convolution("pointwise3", 48, 48, kernel=1, add="pointwise2"),
)
HEAD = "classifier"  # the mean over all pixels, then fully connected


@dataclass
class Parameter:
    """A trained array with the two moments of Adam (Kingma, Ba, 2015)."""

    value: Array
    mean: Array
    square: Array

    @classmethod
    def of(cls, value: Array) -> Parameter:
        return cls(value, np.zeros_like(value), np.zeros_like(value))

    def step(self, gradient: Array, rate: float, count: int) -> None:
        """One step of Adam, with the weights (not the biases) decayed."""
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.99 * self.square + 0.01 * gradient**2
        update = (self.mean / (1 - 0.9**count)) / (np.sqrt(self.square / (1 - 0.99**count)) + 1e-8)
        self.value = self.value - rate * update - (WEIGHT_DECAY * rate * self.value if self.value.ndim > 1 else 0)


Parameters = dict[str, tuple[Array, Array]]  # layer -> (weights, bias)


def taps(layer: Convolution, rows: int) -> Iterator[tuple[int, int, slice, slice]]:
    """For each kernel position: its indices, and the rows and columns of the padded square input that it reads."""
    outputs = (rows - 1) // layer.stride + 1
    for i in range(layer.kernel):
        for j in range(layer.kernel):
            span = [slice(k, k + (outputs - 1) * layer.stride + 1, layer.stride) for k in (i, j)]
            yield i, j, span[0], span[1]


def pad(layer: Convolution, x: Array) -> Array:
    margin = layer.kernel // 2
    return np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))


def convolve(layer: Convolution, weights: Array, bias: Array, x: Array) -> Array:
    padded = pad(layer, x)
    return bias + sum(layer.multiply(padded[:, r, c], weights[i, j]) for i, j, r, c in taps(layer, x.shape[1]))


def convolve_backward(layer: Convolution, weights: Array, x: Array, dy: Array) -> tuple[Array, Array, Array]:
    """Gradients of the weights, the bias and the input, from that of the output."""
    padded = pad(layer, x)
    dpadded, dweights = np.zeros_like(padded), np.zeros_like(weights)
    for i, j, r, c in taps(layer, x.shape[1]):
        dpadded[:, r, c] += layer.multiply(dy, weights[i, j].T)
        seen = padded[:, r, c]
        dweights[i, j] = (seen * dy).sum((0, 1, 2)) if layer.depthwise else np.tensordot(seen, dy, ((0, 1, 2),) * 2)
    margin, rows = layer.kernel // 2, x.shape[1]
    return dweights, dy.sum((0, 1, 2)), dpadded[:, margin : margin + rows, margin : margin + rows]


def forward(parameters: Parameters, x: Array) -> dict[str, Array]:
    """Every layer's output, by name; `x` is [N,8,8,1], the head's output is logits [N,10]."""
    outputs = {"": x}
    for layer in LAYERS:
        x = convolve(layer, *parameters[layer.name], x)
        if layer.add:
            x = x + outputs[layer.add]
        x = outputs[layer.name] = np.maximum(x, 0) if layer.relu else x
    weights, bias = parameters[HEAD]
    outputs[HEAD] = x.mean((1, 2)) @ weights + bias
    return outputs


def backward(parameters: Parameters, outputs: dict[str, Array], dlogits: Array) -> Parameters:
    """Gradients of all parameters, from that of the logits."""
    last = outputs[LAYERS[-1].name]
    features, weights = last.mean((1, 2)), parameters[HEAD][0]
    gradients = {HEAD: (features.T @ dlogits, dlogits.sum(0))}
    pixels = last.shape[1] * last.shape[2]
    pending = {LAYERS[-1].name: np.broadcast_to((dlogits @ weights.T)[:, None, None] / pixels, last.shape)}
    for layer, below in zip(LAYERS[::-1], ("", *(b.name for b in LAYERS[:-1]))[::-1], strict=True):
        dy = pending.pop(layer.name)
        if layer.relu:
            dy = dy * (outputs[layer.name] > 0)
        dweights, dbias, dx = convolve_backward(layer, parameters[layer.name][0], outputs[below], dy)
        gradients[layer.name] = dweights, dbias
        if layer.add:
            pending[layer.add] = pending.get(layer.add, 0) + dy
        pending[below] = pending.get(below, 0) + dx
    return gradients


def cross_entropy_gradient(logits: Array, labels: Labels) -> Array:
    """Gradient of the mean cross entropy of softmax(`logits`) [N,10]: (softmax - one hot) / N."""
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    softmax: Array = exponentials / exponentials.sum(1, keepdims=True)
    return (softmax - np.eye(CLASSES)[labels]) / len(labels)


def shifted(x: Array, random: np.random.RandomState) -> Array:
    """Each image [N,8,8,1] moved by up to one pixel in both directions, with zeros coming in."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = (random.randint(0, 3, len(x))[:, None] + np.arange(8) for _ in "rc")
    moved: Array = padded[np.arange(len(x))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def nhwc(images: LabelledImages) -> Array:
    return images.images.transpose(0, 2, 3, 1).astype(np.float64)


def initial_weights(shape: tuple[int, ...], fan_in: int, random: np.random.RandomState) -> Parameter:
    """Normal with variance 2 / fan-in, which keeps a ReLU network's signal level (He et al., 2015)."""
    return Parameter.of(random.standard_normal(shape) * np.sqrt(2 / fan_in))


def train(data: LabelledImages) -> Parameters:
    """Weights and biases of every layer after `EPOCHS` epochs; the same on every call."""
    random = np.random.RandomState(TRAINING_SEED)  # its stream never changes between NumPy versions
    state = {}
    for layer in LAYERS:
        fan_in = layer.kernel**2 * (1 if layer.depthwise else layer.inputs)
        state[layer.name] = initial_weights(layer.weight_shape, fan_in, random), Parameter.of(np.zeros(layer.outputs))
    features = LAYERS[-1].outputs
    state[HEAD] = initial_weights((features, CLASSES), features, random), Parameter.of(np.zeros(CLASSES))

    images, count = nhwc(data), 0
    steps = EPOCHS * (len(images) // BATCH)
    for _ in range(EPOCHS):
        order = random.permutation(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            batch = order[start : start + BATCH]
            parameters = {name: (w.value, b.value) for name, (w, b) in state.items()}
            outputs = forward(parameters, shifted(images[batch], random))
            gradients = backward(parameters, outputs, cross_entropy_gradient(outputs[HEAD], data.labels[batch]))
            count += 1
            rate = LEARNING_RATE * (1 + np.cos(np.pi * count / steps)) / 2
            for name, pair in gradients.items():
                for parameter, gradient in zip(state[name], pair, strict=True):
                    parameter.step(gradient, rate, count)
    return {name: (np.round(w.value * 4096) / 4096, np.round(b.value * 4096) / 4096) for name, (w, b) in state.items()}

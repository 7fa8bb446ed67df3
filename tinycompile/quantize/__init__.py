"""Post-training quantisation: a float graph, a few samples of its input -> an int8 graph as a QDQ ONNX file."""

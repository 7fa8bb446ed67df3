"""Layer by layer against the source format's own runtime: LiteRT's reference kernels, or onnxruntime."""

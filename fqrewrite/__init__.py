"""Rewrites serialized TensorFlow graphs for quantization-aware training and TFLite conversion."""

__version__ = "0.1.0"

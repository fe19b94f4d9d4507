"""Build, find and run containers on NVIDIA Jetson, and put a quantized language model on them."""

__version__ = "0.1.0"

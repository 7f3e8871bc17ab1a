"""LLMOS: serve language models on your own weights, behind the API that your tools already speak."""

__version__ = "0.1.0"

"""Active learning for hyperspectral image classification (see README.md)."""

__version__ = "0.1.0"

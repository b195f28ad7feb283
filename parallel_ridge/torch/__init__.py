"""Torch: rows in tensors, on the CPU or on a GPU.

Importing this imports no torch; a `TorchBackend` does when one of its methods is called.
"""

from parallel_ridge.torch._backend import TorchBackend

__all__ = ["TorchBackend"]

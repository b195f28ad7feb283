"""Images as rows: MNIST, and folders of photographs."""

from parallel_ridge.datasets._folders import find_data
from parallel_ridge.datasets._idx import read_idx
from parallel_ridge.datasets._images import load_image_folder
from parallel_ridge.datasets._mnist import load_mnist

__all__ = ["find_data", "load_image_folder", "load_mnist", "read_idx"]

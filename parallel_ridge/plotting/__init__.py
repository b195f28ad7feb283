"""Pictures of a fitted classifier and of a search."""

from parallel_ridge.plotting._alpha_path import AlphaPathDisplay
from parallel_ridge.plotting._class_weights import ClassWeightsDisplay

__all__ = ["AlphaPathDisplay", "ClassWeightsDisplay"]

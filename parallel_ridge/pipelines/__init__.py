"""Pipelines whose transformers make features block by block, on their way into a fit."""

from parallel_ridge.pipelines._block_pipeline import BlockPipeline, make_block_pipeline

__all__ = ["BlockPipeline", "make_block_pipeline"]

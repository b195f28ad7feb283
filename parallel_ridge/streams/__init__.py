"""Rows from anywhere: streams that are read piece by piece, and the source that they make.

A *stream* yields pieces of rows with their labels, in order, and again for every pass: tables of Arrow,
datasets of files, arrays on disk, and batches of an iterable. `open_stream` finds the reader of what a
user passes; `survey` takes the first look, and makes a stream a source of blocks.
"""

from parallel_ridge.streams._ahead import read_parts
from parallel_ridge.streams._answers import answer, count_right
from parallel_ridge.streams._arrow import read_features, read_groups, read_labels, read_weights
from parallel_ridge.streams._base import Piece, Stream
from parallel_ridge.streams._batches import as_array
from parallel_ridge.streams._builder import StatisticsBuilder, spread_rows
from parallel_ridge.streams._columns import check_names, choose_features
from parallel_ridge.streams._datasets import is_path
from parallel_ridge.streams._open import find_reader, open_stream
from parallel_ridge.streams._pieces import FoundLabels, found_target, merged
from parallel_ridge.streams._sample import Sample, SampleReduction
from parallel_ridge.streams._source import StreamSource
from parallel_ridge.streams._survey import survey
from parallel_ridge.streams._table_stream import Roles

__all__ = [
    "FoundLabels",
    "Piece",
    "Roles",
    "Sample",
    "SampleReduction",
    "StatisticsBuilder",
    "Stream",
    "StreamSource",
    "answer",
    "as_array",
    "check_names",
    "choose_features",
    "count_right",
    "find_reader",
    "found_target",
    "is_path",
    "merged",
    "open_stream",
    "read_features",
    "read_groups",
    "read_labels",
    "read_parts",
    "read_weights",
    "spread_rows",
    "survey",
]

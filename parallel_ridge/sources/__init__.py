"""Sources of rows: each yields its rows in blocks, in order."""

from parallel_ridge.sources._arrays import (
    ArraySource,
    as_source,
    check_rows,
    check_weights,
    cut,
    part_of,
    shifted,
    take_rows,
    weight_range,
)
from parallel_ridge.sources._base import Block, Gather, Source, Validate
from parallel_ridge.sources._labels import (
    Labels,
    Target,
    among,
    as_labels,
    encode_labels,
    is_text,
    places,
    plain,
    union_of_labels,
)
from parallel_ridge.sources._sparse import as_csr, canonical, check_sparse

__all__ = [
    "ArraySource",
    "Block",
    "Gather",
    "Labels",
    "Source",
    "Target",
    "Validate",
    "among",
    "as_csr",
    "as_labels",
    "as_source",
    "canonical",
    "check_rows",
    "check_sparse",
    "check_weights",
    "cut",
    "encode_labels",
    "is_text",
    "part_of",
    "places",
    "plain",
    "shifted",
    "take_rows",
    "union_of_labels",
    "weight_range",
]

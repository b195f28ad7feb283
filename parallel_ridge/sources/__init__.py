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
from parallel_ridge.sources._features import (
    FeatureRows,
    Features,
    Positions,
    n_samples,
    samples_at,
)
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
    "FeatureRows",
    "Features",
    "Gather",
    "Labels",
    "Positions",
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
    "n_samples",
    "part_of",
    "places",
    "plain",
    "samples_at",
    "shifted",
    "take_rows",
    "union_of_labels",
    "weight_range",
]

"""Statistics that do not go together."""

import numpy as np
import pytest
from _data.statistics import Table, make_table, named, of, snapshot
from numpy.testing import assert_array_equal

REFUSED = {
    "features": (lambda: of(make_table(9, d=3)), "3 features and of 4"),
    "multilabel": (lambda: of(make_table(9, multilabel=True)), "multilabel and of single-label"),
    "strings": (
        lambda: of(Table(np.ones((2, 4)), np.array(["a", "b"]))),
        r"labels .*'a', 'b'.*strings and numbers",
    ),
    "objects": (
        lambda: of(Table(np.ones((2, 4)), np.array(["a", "b"], object))),
        r"labels .*'a', 'b'.*strings and numbers",
    ),
    "names": (
        lambda: named(of(make_table(9)), ["a", "b", "x", "d"]),
        "column 2 is 'c' here and 'x' there",
    ),
}


@pytest.mark.parametrize(("other", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("operation", ["merge", "subtract"])
def test_statistics_that_do_not_fit_are_refused(operation, other, message):
    some = named(of(make_table(40)), ["a", "b", "c", "d"])
    before = snapshot(some)
    if operation == "merge":
        with pytest.raises(ValueError, match=f"Cannot merge statistics.*{message}"):
            some + other()
    else:  # labels of another kind are first of all labels that are not there
        with pytest.raises(
            ValueError, match=f"Cannot subtract .*{message}|Cannot forget .*'a', 'b'"
        ):
            some - other()
    assert some == before


def test_multilabel_statistics_of_other_widths_are_refused():
    a, b = (of(make_table(9, multilabel=True, n_classes=k)) for k in (4, 5))
    with pytest.raises(ValueError, match="5 labels and of 4"):
        a + b


def test_known_feature_names_prevail():
    a, names = of(make_table(9, dtype="uint8")), list("abcd")
    for total in (a + named(a, names), named(a, names) + a, named(a, names) + named(a, names)):
        assert_array_equal(total.feature_names, names)


def test_more_than_was_added_cannot_be_forgotten():
    table = make_table(30, dtype="uint8", n_classes=3)
    some = of(table[:10])
    with pytest.raises(ValueError, match=r"Cannot forget more rows than were added: 30 rows .* 10"):
        some - of(table)
    one_class = table[table.y == 1]
    with pytest.raises(ValueError, match=r"Cannot forget more rows .* class counts"):
        of(Table(table.X[:10], np.arange(10) % 3)) - of(one_class[:6])
    with pytest.raises(ValueError, match=r"Cannot forget rows of classes \[7\]"):
        some - of(Table(table.X[:1], np.array([7])))

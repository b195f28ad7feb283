cdef inline int expect(bint holds, str what) except -1:
    """Raise unless arrays match."""
    if not holds:
        raise ValueError(f"The arrays do not match: expected {what}.")
    return 0

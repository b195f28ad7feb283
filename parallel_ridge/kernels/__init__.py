"""Kernels: pure functions on one block of rows, or on one triangle, in C and Cython.

``fold_kind.h`` holds the algorithm; ``fold_level.c`` adds the element types and is compiled once
per CPU level. ``fold_csr.c`` does the same for sparse rows; ``_fold.pyx`` is the Python interface.
``PARALLEL_RIDGE_CPU`` forces a level. ``decide_kind.h``, ``decide_level.c`` and ``_decide.pyx`` do the
same for decision values and what is made of them: classes, squared errors. ``_triangle.pyx`` works on
the triangles that come out, and ``_lapack.pyx`` factorises them without the GIL. ``_columns.pyx``
copies columns to contiguous rows.
"""

"""Kernels: pure functions on one block of rows, or on one triangle, in C and Cython.

``fold_kind.h`` is the algorithm, ``fold_level.c`` the element types, compiled once for each CPU level;
``fold_csr.c`` the same for sparse rows; ``_fold.pyx`` the doorway. ``PARALLEL_RIDGE_CPU`` forces a level.
``_triangle.pyx`` has what is done to the triangles that come out.
"""

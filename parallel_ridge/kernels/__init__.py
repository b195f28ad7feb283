"""Kernels: pure functions on one block of rows, in C behind one Cython module.

``fold_kind.h`` is the algorithm, ``fold_level.c`` the element types, compiled once for each CPU level;
``fold_csr.c`` the same for sparse rows; ``_fold.pyx`` the doorway. ``PARALLEL_RIDGE_CPU`` forces a level.
"""

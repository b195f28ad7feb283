"""Configuration of the pages; ``make docs`` builds them, without any network."""

import os

import parallel_ridge

project = "parallel_ridge"
author = "the parallel_ridge developers"
copyright = author
version = release = parallel_ridge.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_title = "parallel_ridge"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["figures.css"]
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "show_nav_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"]},
    "footer_start": [],
    "footer_end": [],
}
html_sidebars = {"index": [], "benchmarks": []}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Docstrings
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have them, with shapes
numpydoc_show_class_members = False  # the template lists them
python_display_short_literal_types = True

# Links to other projects need their inventories from the network: only if they are asked for.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "sklearn": ("https://scikit-learn.org/stable", None),
}
nitpick_ignore_regex = [("py:.*", r"(typing|collections|numpy\._typing|mpi4py|pyspark)\..*")]
if os.environ.get("PARALLEL_RIDGE_DOCS_LINKS"):
    extensions.append("sphinx.ext.intersphinx")
else:
    nitpick_ignore_regex.append(("py:.*", r"(sklearn|numpy|joblib|matplotlib)\..*"))

# Examples: those that are named plot_* run here, the others are programs of their own.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "thumbnail_size": (320, 240),
}

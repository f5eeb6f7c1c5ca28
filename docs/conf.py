"""How the site is built: ``python3 dev.py docs``."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

# found by the line above, whatever is installed
import elsewhere  # noqa: E402

import sklearn_l2cnn  # noqa: E402

project = "sklearn_l2cnn"
author = "the contributors of sklearn_l2cnn"
copyright = author
version = release = sklearn_l2cnn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "elsewhere",
    "mathml",
    "names",
    "pictures",
]
if elsewhere.are_reachable():
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        name: (address, None) for name, address in elsewhere.SITES.items()
    }

templates_path = ["_templates"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
autosummary_generate = True
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    # the two quickest; `python3 dev.py docs --whole` executes all of them
    "filename_pattern": "serve_onnx|plot_alpha_path",
    "within_subsection_order": "examples_order.place_of",
    "minigallery_sort_order": "examples_order.place_of",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_l2cnn",),
    "capture_repr": ("_repr_html_",),
    "reference_url": {"sklearn_l2cnn": None},
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_l2cnn"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def _is_of_all(app, what, name, obj, skip, options):
    """Leave out what every estimator of scikit-learn has, and what others call."""
    function = getattr(obj, "fget", obj)
    inherited = str(getattr(function, "__module__", "")).startswith("sklearn.")
    known = name in ("get_params", "set_params") or name.startswith("onnx_")
    return True if inherited or known else None


# Pages of the site that are files elsewhere: links to these go there.
PAGES = {
    "benchmarks/README.md": "figures",
    "benchmarks/RELIABILITY.md": "reliability",
    "CHANGES.md": "changes",
}


def _lead_to_pages(app, name, source):
    """Let links to files that a reader of the repository has lead to pages."""
    for file, page in PAGES.items():
        source[0] = source[0].replace(f"](../{file})", f"]({page}.md)")
    example = r"\]\(\.\./examples/(\w+)\.py\)"
    source[0] = re.sub(example, r"](examples/\1.rst)", source[0])


def setup(app):
    """Tell Sphinx."""
    app.connect("source-read", _lead_to_pages)
    app.connect("autodoc-skip-member", _is_of_all)

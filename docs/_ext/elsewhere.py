"""Links to the pages of other libraries where their inventories cannot be read.

intersphinx knows every page, once it has reached the sites; a build without a network
links what is named by the rules that these sites name their pages by.
"""

import socket
import sys

from docutils import nodes

SITES = {
    "sklearn": "https://scikit-learn.org/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "skorch": "https://skorch.readthedocs.io/en/stable/",
    "joblib": "https://joblib.readthedocs.io/en/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "python": "https://docs.python.org/3/",
}
PAGES = {
    "sklearn": "modules/generated/",
    "numpy": "reference/generated/",
    "torch": "generated/",
    "joblib": "generated/",
    "matplotlib": "api/_as_gen/",
}
# Labels and terms of scikit-learn in the docstrings that its classes hand down.
LABELS = {
    "accuracy_score": "modules/model_evaluation.html#accuracy-score",
    "metadata_routing": "metadata_routing.html#metadata-routing",
    "fit": "glossary.html#term-fit",
}


def are_reachable():
    """Say whether the site of scikit-learn answers."""
    try:
        socket.create_connection(("scikit-learn.org", 443), timeout=3).close()
    except OSError:
        return False
    return True


def address_of(kind, name):
    """Return the address of what is named so, or None.

    Parameters
    ----------
    kind : str
        Of the reference: ``"class"``, ``"func"``, ``"ref"``, ``"term"``, ...
    name : str
    """
    if kind in ("ref", "term"):
        return SITES["sklearn"] + LABELS[name] if name in LABELS else None
    library = name.partition(".")[0]
    if library in sys.stdlib_module_names:
        anchor = f"module-{name}" if kind == "mod" else name
        return f"{SITES['python']}library/{library}.html#{anchor}"
    if library not in PAGES:
        return SITES.get(library)
    of_class = kind in ("meth", "attr") and library != "matplotlib"
    page = name.rpartition(".")[0] if of_class else name
    return f"{SITES[library]}{PAGES[library]}{page}.html#{name}"


def _resolve(app, env, node, contnode):
    address = address_of(node.get("reftype"), node.get("reftarget", ""))
    if address is None:
        return None
    link = nodes.reference("", "", contnode, internal=False, refuri=address)
    link["classes"].append("external")
    return link


def setup(app):
    """Tell Sphinx; intersphinx is asked first."""
    app.connect("missing-reference", _resolve, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

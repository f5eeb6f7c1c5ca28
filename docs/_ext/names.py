"""Names of public classes and functions in the guide lead to the reference."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref

REFERENCE = Path(__file__).parents[1] / "api.rst"


def listed_names():
    """Return the names that the reference lists, as pages write them, in full."""
    found = {}
    for name in re.findall(r"(?m)^   ([\w.]+)$", REFERENCE.read_text()):
        full = f"sklearn_l2cnn.{name}"
        found |= {name: full, name.rpartition(".")[2]: full}
    return found


NAMES = listed_names()


def link(app, doctree):
    """Let inline code that is such a name be a link."""
    if not str(doctree.get("source", "")).endswith(".md"):
        return
    for literal in list(doctree.findall(nodes.literal)):
        full = NAMES.get(literal.astext())
        if full is None or isinstance(literal.parent, nodes.reference | pending_xref):
            continue
        reference = pending_xref(
            "", refdomain="py", reftype="obj", reftarget=full, refexplicit=True
        )
        literal.replace_self(reference)
        reference += literal


def setup(app):
    """Tell Sphinx."""
    app.connect("doctree-read", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

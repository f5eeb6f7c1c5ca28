"""Names of public classes and functions in the guide lead to the reference."""

import importlib
import pkgutil

from docutils import nodes
from sphinx.addnodes import pending_xref

import sklearn_l2cnn


def public_names():
    """Return the public names, as pages write them, with their full names."""
    package = sklearn_l2cnn.__name__
    modules = [package]
    for module in pkgutil.iter_modules(sklearn_l2cnn.__path__):
        if not module.name.startswith("_"):
            modules.append(f"{package}.{module.name}")
    found = {}
    for module in modules:
        for name in importlib.import_module(module).__all__:
            full = f"{module}.{name}"
            found |= {name: full, full.removeprefix(f"{package}."): full}
    return found


NAMES = public_names()


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

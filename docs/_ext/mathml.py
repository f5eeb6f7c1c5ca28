"""Formulas as MathML, which browsers draw by themselves: no script, no request."""

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml


def _inline(visitor, node):
    visitor.body.append(tex2mathml(node.astext(), as_block=False))
    raise SkipNode


def _block(visitor, node):
    visitor.body.append('<div class="math">')
    visitor.body.append(tex2mathml(node.astext(), as_block=True))
    visitor.body.append("</div>")
    raise SkipNode


def setup(app):
    """Tell Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

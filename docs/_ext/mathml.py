"""Formulas as MathML, which browsers draw by themselves: no script, no request."""

from docutils.utils.math.latex2mathml import tex2mathml


def _inline(visitor, node):
    visitor.body.append(tex2mathml(node.astext(), as_block=False))
    raise _skip()


def _block(visitor, node):
    visitor.body.append('<div class="math">')
    visitor.body.append(tex2mathml(node.astext(), as_block=True))
    visitor.body.append("</div>")
    raise _skip()


def _skip():
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app):
    """Tell Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

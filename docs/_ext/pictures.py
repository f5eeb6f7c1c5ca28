"""The pictures of the page ``pictures``, drawn by the code that the page shows.

Each block of the page that sets ``display`` becomes a file of the class's name.
"""

import re
from pathlib import Path


def draw(app):
    """Run the examples of the page where their pictures are missing or older."""
    page = Path(app.srcdir) / "pictures.md"
    folder = Path(app.srcdir) / "generated" / "pictures"
    drawn = folder / "drawn"
    if drawn.exists() and drawn.read_text() == page.read_text():
        return
    import matplotlib

    matplotlib.use("Agg")  # no screen is needed
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for block in re.findall(r"(?s)```python\n(.*?)```", page.read_text()):
        exec(compile(block, str(page), "exec"), names)
        display = names.pop("display", None)
        if display is not None:
            file = folder / f"{type(display).__name__}.png"
            display.figure_.savefig(file, dpi=110, bbox_inches="tight")
            matplotlib.pyplot.close(display.figure_)
    drawn.write_text(page.read_text())


def setup(app):
    """Tell Sphinx."""
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

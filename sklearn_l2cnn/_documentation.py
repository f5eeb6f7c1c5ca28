"""Where the documentation of an estimator is, for its picture in a notebook."""

import inspect
from pathlib import Path


class DocumentationMixin:
    """Link the picture of an estimator in a notebook to its docstring.

    scikit-learn asks for an address, puts it behind a question mark and behind the name
    of every parameter, and only where there is one shows what a parameter means. The
    docstring lies in the file that the class was loaded from: that is the address. A
    class of another package, derived from one of these, has none.
    """

    _doc_link_module = "sklearn_l2cnn"
    _doc_link_template = "{address}"

    def _doc_link_url_param_generator(self):
        try:
            path = Path(inspect.getsourcefile(type(self))).resolve()
        except (OSError, TypeError):  # no file: an archive, an interpreter
            return {"address": ""}
        return {"address": path.as_uri() if path.is_file() else ""}

"""The README as the page of the package index shows it; the rest is in pyproject.toml.

Links to files of the repository lead to nothing there.
"""

import re
from pathlib import Path

from setuptools import setup

PAGES = "https://github.com/sklearn-l2cnn/sklearn-l2cnn/blob/main/"
PICTURES = "https://raw.githubusercontent.com/sklearn-l2cnn/sklearn-l2cnn/main/"

readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
readme = re.sub(r"(!\[[^\]]*\]\()(?!https?:|#)", rf"\g<1>{PICTURES}", readme)
readme = re.sub(r"(\]\()(?!https?:|#)", rf"\g<1>{PAGES}", readme)
setup(long_description=readme, long_description_content_type="text/markdown")

"""An accelerator that is neither CUDA nor known to this package, and has no float64.

    python -m pytest -p tests.pretended.other tests/pretended/test_other.py

It stands for those of Apple and Intel, of which no test has met one: what is needed of
an accelerator is asked of torch, not of a table of names. See `cuda` for how a device
is pretended; this one is a backend as others may register one with torch.
"""

import torch.utils.backend_registration

NAME = "other"
WHY_NOT = None

if hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
    from tests.pretended import driver

    driver.install_other(NAME)
else:
    WHY_NOT = f"torch {torch.__version__} knows no backends that are written in Python"

"""A CUDA device that is pretended, with real numbers, for machines that have none.

    python -m pytest -p tests.pretended.cuda -m gpu

A tensor "on cuda:0" is a wrapper around a tensor of the CPU (`tensors`). What is done
with it is checked as a device would check it, done on the CPU, and wrapped again.
Below that is a CUDA build of torch which believes in two devices, as `shim.c` and a few
functions of `torch._C` tell it so (`driver`): torch.cuda's own Python, autograd,
autocast, optimizers are torch's, unchanged. A graph is a tape of operations (`graphs`).

It knows of mixed devices, generators of the wrong device, memory that is read before it
is written (it holds nan), the waits for the device that torch's sync debug mode tells
of, what may not be done in a capture and what a failed one leaves, and, if told, of a
limit of memory. It knows nothing of cuDNN, of streams that run at the same time, of
which kernels there are, or of speed.

It is installed by being imported, before torch, and stays for the process.
"""

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path


def _load_shim():
    """Compile what libtorch_cuda shall find before its own functions."""
    built = Path(tempfile.mkdtemp()) / "shim.so"
    source = Path(__file__).with_name("shim.c")
    flags = "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"
    subprocess.run(["cc", *flags, "-o", str(built), str(source)], check=True)
    return ctypes.CDLL(str(built), mode=ctypes.RTLD_GLOBAL)


def _install():
    if "torch" in sys.modules:
        raise ImportError("tests.pretended.cuda must be imported before torch.")
    shim = _load_shim()
    import torch

    if torch.version.cuda is None:
        return "torch was built without CUDA"
    if not hasattr(torch._C, "_ensureCUDADeviceGuardSet"):
        return f"torch {torch.__version__} cannot do without a CUDA driver"
    if torch._C._cuda_getDeviceCount():
        return "there is a CUDA device"
    torch._C._ensureCUDADeviceGuardSet()  # one that does nothing
    from tests.pretended import driver

    # as many as that guard may ask for; it is chosen only where there are none
    shim.pretend_devices(127)
    driver.install_cuda()
    return None


def pytest_collection_modifyitems(items):
    """Mark the tests that fail here, and those that may: by chance they agree.

    On some processors more do than on others: the device computes with the CPU's
    kernels.
    """
    import pytest

    from tests.pretended.reasons import BY_CHANCE, REASONS

    for item in items:
        for start, reason in REASONS.items():
            named = item.nodeid.removeprefix("tests/").startswith(start)
            if named and not (WHY_NOT or item.get_closest_marker("gpu")):
                strict = reason not in BY_CHANCE
                item.add_marker(pytest.mark.xfail(reason=reason, strict=strict))


WHY_NOT = _install()

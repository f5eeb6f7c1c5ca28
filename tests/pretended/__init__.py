"""Devices that are pretended; `cuda` and `other` say how."""

NAME = "pretended device"


def is_pretended():
    """Say whether the CUDA device of this process is pretended."""
    import torch  # `cuda` has to come before it

    return torch.cuda.get_device_name() == NAME

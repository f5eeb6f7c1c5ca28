"""Where a network is trained: from the `device` parameter to a torch.device."""

import torch


def resolve_device(device):
    """Turn ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` into a device that is there.

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    device : torch.device
        ``"auto"`` is the current CUDA device where there is one, else the CPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(_unknown(device)) from error
    if resolved.type == "cpu":
        return torch.device("cpu")
    if resolved.type != "cuda":
        raise ValueError(_unknown(device))
    if not torch.cuda.is_available():
        built = torch.version.cuda or "no CUDA"
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch {torch.__version__} "
            f"(built for {built}) sees no CUDA device on this machine. Use "
            "device='cpu', or device='auto' to take CUDA only where it is."
        )
    index = torch.cuda.current_device() if resolved.index is None else resolved.index
    if index >= torch.cuda.device_count():
        raise ValueError(
            f"device={str(device)!r} was asked for, but this machine has "
            f"{torch.cuda.device_count()} CUDA device(s), 'cuda:0' to "
            f"'cuda:{torch.cuda.device_count() - 1}'."
        )
    return torch.device("cuda", index)


def _unknown(device):
    return (
        f"device={str(device)!r} is not a device that this estimator knows: 'auto', "
        "'cpu', 'cuda' or 'cuda:N' was expected."
    )


def move(module, optimizer, device):
    """Move a network, and what an optimizer remembers of it, to a device."""
    if all(p.device == device for p in module.parameters()):
        return
    module.to(device)
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                state[name] = value.to(device)

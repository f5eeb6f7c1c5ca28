"""What a user of torch may have set for new tensors, left aside for a while."""

from contextlib import ExitStack, contextmanager

import torch

from sklearn_l2cnn._utils.devices import kinds_of_devices


@contextmanager
def usual_defaults():
    """Compute as if nothing had been set: on the CPU, in float32, without autocast.

    A result must not depend on ``torch.set_default_device``, on
    ``torch.set_default_dtype`` or on an autocast around a call. Outside, all of them
    are as they were. It can decorate a function as well.
    """
    with ExitStack() as restore:
        if torch.get_default_dtype() != torch.float32:
            restore.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        # a device that is set costs every call of torch a call of Python
        if torch.empty(0).device.type != "cpu":
            restore.enter_context(torch.device("cpu"))
        for kind in kinds_of_devices():
            if torch.is_autocast_enabled(kind):
                restore.enter_context(torch.autocast(kind, enabled=False))
        yield

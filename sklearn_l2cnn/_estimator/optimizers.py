"""The optimizer of a fit: what a name means, how it is made, whether it can work."""

import inspect

import torch

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "sgdw": torch.optim.SGD,
}
# With these the penalty acts on the update rather than on the loss.
DECOUPLED = ("adamw", "sgdw")

_FUSED = torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD
_HOW = {"fused", "foreach", "differentiable", "dampening"}
# What a training asks an optimizer for.
_ASKED_FOR = "param_groups", "state", "step", "state_dict", "load_state_dict"
_EXPECTED = (
    "a class of torch.optim was expected, or a function of (parameters, lr) that "
    "returns an optimizer, such as functools.partial(torch.optim.SGD, momentum=0.9)"
)


def optimizer_parameters(clf):
    """Return the parameters of a net that say how its optimizer is made.

    Parameters
    ----------
    clf : L2CNNClassifier
    """
    optimizer, options = OPTIMIZERS.get(clf.optimizer, clf.optimizer), {}
    given = getattr(optimizer, "keywords", {})  # of a functools.partial
    if "lr" in given:
        raise ValueError(
            f"optimizer={clf.optimizer!r} has a learning rate of its own, and lr="
            f"{clf.lr!r} is another. Leave it out there and give lr={given['lr']!r}."
        )
    taken = _arguments_of(optimizer)
    if getattr(optimizer, "func", optimizer) in _FUSED and not _HOW & set(given):
        options["optimizer__fused"] = True  # one call for all parameters
    if "momentum" in taken - set(given):
        options["optimizer__momentum"] = float(clf.momentum)
    return {"optimizer": optimizer, **options}


def _arguments_of(optimizer):
    """Return the names of the arguments of what makes an optimizer, or raise."""
    try:
        signature = inspect.signature(optimizer)
        signature.bind([], lr=1.0)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"optimizer={optimizer!r} cannot be called with parameters and lr "
            f"({error}); {_EXPECTED}."
        ) from error
    return set(signature.parameters)


def check_optimizer(optimizer, given, module, lr):
    """Raise where an optimizer cannot train a network.

    Parameters
    ----------
    optimizer : object
        What was made.
    given : str or callable
        What made it.
    module : torch.nn.Module
    lr : float or dict
        Of layers, each of which it has as a group.
    """
    if not all(hasattr(optimizer, name) for name in _ASKED_FOR):
        raise TypeError(
            f"optimizer={given!r} has returned {optimizer!r}, which is no optimizer; "
            f"{_EXPECTED}."
        )
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise ValueError(
            f"optimizer={given!r} takes sparse gradients alone, and those of a network "
            "for images are dense. Take optimizer='adam'."
        )
    n_groups = len(optimizer.param_groups)
    if isinstance(lr, dict) and n_groups != len(lr):
        raise ValueError(
            f"optimizer={given!r} has made {n_groups} groups of the {len(lr)} that it "
            "was given, one for each rate of lr. Let it take them as they are, or give "
            "lr as one number."
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trained = [p for p in module.parameters() if p.requires_grad]
    if trained and not any(id(parameter) in held for parameter in trained):
        raise ValueError(
            f"optimizer={given!r} has returned an optimizer of other parameters than "
            f"those it was given, and would train nothing; {_EXPECTED}."
        )

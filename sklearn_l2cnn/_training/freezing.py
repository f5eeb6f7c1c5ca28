"""Parts of a network that are not trained."""

from typing import NamedTuple

from sklearn_l2cnn._utils.layer_names import by_pattern, layer_of


class Frozen(NamedTuple):
    """What is frozen in a network, by name, so that it can be thawed again.

    Attributes
    ----------
    parts : tuple of str
        Layers, or parts made of layers.
    parameters : tuple of str
        Those that were trainable before.
    """

    parts: tuple = ()
    parameters: tuple = ()

    def keep(self, module):
        """Keep norms and dropout of the frozen parts as they are in prediction."""
        for name in self.parts:
            module.get_submodule(name).eval()

    def let(self, module, trained):
        """Let all be trained that was before, or nothing of it."""
        for name in self.parameters:
            module.get_parameter(name).requires_grad_(trained)


def freeze(module, patterns):
    """Freeze the layers that patterns of names mean, in place.

    Parameters
    ----------
    module : torch.nn.Module
    patterns : str, sequence of str, or None

    Returns
    -------
    frozen : Frozen
    """
    if not patterns:
        return Frozen()
    patterns = [patterns] if isinstance(patterns, str) else patterns
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ValueError(
                f"freeze has {pattern!r}; names of layers, or patterns of them, were "
                "expected: freeze=['conv1', 'layer*']."
            )
    names = [name for name, _ in module.named_modules() if name]
    found = by_pattern(patterns, names, "freeze")
    parameters = tuple(
        name
        for name, parameter in module.named_parameters()
        if layer_of(name) in found and parameter.requires_grad
    )
    frozen = Frozen(tuple(found), parameters)
    frozen.let(module, trained=False)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        frozen.let(module, trained=True)
        raise ValueError(
            f"freeze={patterns!r} leaves nothing to be trained. The layers are "
            f"{', '.join(map(repr, names[:40]))}."
        )
    return frozen

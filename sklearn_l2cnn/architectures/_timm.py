"""Networks of timm, which fits channels, classes and weights by itself.

timm, an extra, is only imported when one of its networks is used.
"""

import contextlib
import io
import os

from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn.architectures._heads import begin_at_zero, last_layer
from sklearn_l2cnn.architectures._published import Published

# What names of its networks begin with here.
PREFIX = "timm:"


def is_of_timm(architecture):
    """Say whether an architecture is the name of a network of timm."""
    return isinstance(architecture, str) and architecture.startswith(PREFIX)


def timm_names():
    """List the networks of timm by the names that they have here."""
    return [PREFIX + name for name in _timm().list_models()]


def timm_published(architecture):
    """Return what the weights that timm publishes were trained on; None without any."""
    _, _, config = _known(architecture)
    if config is None or not config.has_weights:
        return None
    return Published(config.mean, config.std, config.input_size[1:], config.num_classes)


def timm_network(architecture, input_shape, n_classes, pretrained=False):
    """Build a network of timm for images of the given shape.

    Parameters
    ----------
    architecture : str
        ``"timm:"`` and a name of :func:`timm.list_models`, with or without a tag.
    input_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
    pretrained : bool or path, default=False
        Whether to load the published weights, or the file of them.

    Returns
    -------
    network : torch.nn.Module
    """
    timm, name, config = _known(architecture)
    depth, *size = input_shape
    options = {"in_chans": depth, "num_classes": n_classes}
    if config is not None and config.fixed_input_size:
        options["img_size"] = tuple(size)
        if pretrained and tuple(size) != tuple(config.input_size[1:]):
            raise ValueError(_size_message(architecture, size, config.input_size[1:]))
    if not isinstance(pretrained, bool):
        file = {"file": os.fspath(pretrained), "custom_load": False}
        options["pretrained_cfg_overlay"] = file
    if not pretrained:
        return timm.create_model(name, **options)
    quiet = io.StringIO()  # of downloads
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        network = _with_weights(timm, name, pretrained, options)
    if config is not None and n_classes != config.num_classes:
        heads = network.get_classifier()  # some have two, some a norm in front
        for head in heads if isinstance(heads, tuple) else (heads,):
            _, last = last_layer(head)
            if last is not None:
                begin_at_zero(last)
    return network


def _with_weights(timm, name, pretrained, options):
    """Build a network with its weights, or say what is wrong with them."""
    try:
        if "pretrained_cfg_overlay" in options:  # for other classes all else may lack
            file = {"pretrained_cfg_overlay": options["pretrained_cfg_overlay"]}
            timm.create_model(name, pretrained=True, **file)
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # timm and the hub raise errors of many types
        if not isinstance(pretrained, bool):
            raise ValueError(
                f"pretrained={os.fspath(pretrained)!r} could not be loaded as the "
                f"weights of timm's {name!r}: {first_line(error)}"
            ) from error
        config = timm.get_pretrained_cfg(name)
        if config is None or not config.has_weights:
            raise ValueError(
                f"timm publishes no weights of {name!r}. pretrained=False starts from "
                "random weights; timm.list_pretrained() lists the names that have some."
            ) from error
        place = f"https://huggingface.co/{config.hf_hub_id or ''}"
        raise OSError(
            f"The published weights of timm's {name!r} could not be downloaded "
            f"({first_line(error)}). Download model.safetensors of {place} on a "
            "machine with a connection, and pass its path as pretrained=. "
            "pretrained=False starts from random weights."
        ) from error


def _timm():
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            "Networks named 'timm:...' need timm, which is not installed: "
            "pip install timm, or sklearn-l2cnn[timm]."
        ) from error
    return timm


def _known(architecture):
    """Return timm, its name of a network and what it says of the weights, or raise."""
    timm, name = _timm(), architecture.removeprefix(PREFIX)
    if not timm.is_model(name):
        raise ValueError(_unknown(timm, architecture, name))
    return timm, name, timm.get_pretrained_cfg(name, allow_unregistered=True)


def _unknown(timm, architecture, name):
    close = timm.list_models(f"*{name}*")[:3]
    hint = f" Did you mean {' or '.join(repr(PREFIX + one) for one in close)}?"
    return (
        f"architecture={architecture!r} is not the name of a network of timm "
        f"{timm.__version__}.{hint if close else ''} sklearn_l2cnn.architectures."
        "list_architectures('timm:*resnet*') lists those that a pattern means."
    )


def _size_message(architecture, size, wanted):
    height, width = wanted
    return (
        f"The weights of architecture={architecture!r} are of images of {height} x "
        f"{width} pixels and no others; these have {size[0]} x {size[1]}. Resize them, "
        f"make_pipeline(ImageResizer(size=({height}, {width})), classifier) with "
        "ImageResizer of sklearn_l2cnn.preprocessing, or choose a network that takes "
        "every size, such as 'timm:resnet18'."
    )

"""prune: remove the filters of a network that have no effect, or little."""

import copy
import math
from contextlib import contextmanager
from numbers import Real

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._training.runtime import isolated
from sklearn_l2cnn._utils.layer_names import by_pattern, layer_of
from sklearn_l2cnn._utils.layers import contiguous
from sklearn_l2cnn._utils.sklearn_compat import Interval, validate_params
from sklearn_l2cnn._utils.surroundings import undisturbed
from sklearn_l2cnn._utils.unwrapping import FROZEN, unwrap
from sklearn_l2cnn.architectures._states import starts_of
from sklearn_l2cnn.feature_selection._links import find_links
from sklearn_l2cnn.feature_selection._removal import filter_norms, remove, silence

CONSTRAINTS = {
    "threshold": [Interval(Real, 0, None, closed="left")],
    "fraction": [Interval(Real, 0, 1, closed="left")],
    "layers": [str, list, tuple, None],
}


@validate_params(
    {"estimator": "no_validation", **CONSTRAINTS, "return_support": ["boolean"]},
    prefer_skip_nested_validation=True,
)
@undisturbed()
def prune(estimator, *, threshold=0.0, fraction=0.0, layers=None, return_support=False):
    r"""Remove filters and units of a fitted network that have no effect, or little.

    The result is a smaller network. By default, filters and units are removed whose
    weights are all zero, as ``penalty="group"`` and, less often, ``penalty="l1"`` make
    them, and those that no later layer reads: the outputs stay the same, except for
    rounding. A `threshold` above zero, or a `fraction`, treats small weights as zero,
    and changes the outputs.

    A filter of zero weights has a constant output: its bias, transformed by the
    activations, norms and pooling behind it. This constant is added to the bias of the
    layer that reads the filter. Where that layer pads a map that is not zero, all
    constant filters are merged into one. A layer may therefore keep a filter of zero
    weights, and always keeps at least one filter.

    Parameters
    ----------
    estimator : L2CNNClassifier
        Fitted. It is not changed. Its network is a :class:`torch.nn.Sequential` of
        convolutions and dense layers, with activations, batch norms, pooling, padding,
        dropout and ``Flatten`` between them, such as the named networks ``"plain"``,
        ``"two_conv"``, ``"conv_pool"``, ``"four_conv"`` and ``"conv_dropout"`` are.

    threshold : float, default=0.0
        Largest norm :math:`\|W_k\|` of the incoming weights of a filter or unit that is
        removed. A batch norm right behind multiplies it by
        :math:`|\gamma_k| / \sqrt{\sigma_k^2 + \epsilon}`. The weights of a removed
        filter count as zero; in front of a batch norm its output counts as its mean in
        training.

    fraction : float, default=0.0
        Smallest fraction of each layer that is removed, in order of the norms, rounded
        down.

    layers : str or list of str, default=None
        Patterns of :mod:`fnmatch` for the names of the layers that lose filters; None
        is all but the last, which outputs the logits.

    return_support : bool, default=False
        Whether to also return which filters are kept.

    Returns
    -------
    pruned : L2CNNClassifier
        A fitted classifier with the same parameters and attributes and the smaller
        network. ``partial_fit``, or ``fit`` with ``warm_start=True``, trains this
        network further, with a new optimizer; any other ``fit``, also of a ``clone``,
        builds a new network of full size from `architecture`. To start another
        classifier from the smaller network, pass ``architecture=pruned.module_``.

    support : dict of ndarray of bool
        Mask of the kept filters of each layer that could lose some, by name. Only
        returned if `return_support` is True.

    See Also
    --------
    FilterSelector : Trains and prunes as one estimator.
    sklearn_l2cnn.penalties.Group : The penalty that makes filters vanish.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.feature_selection import prune
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = L2CNNClassifier(
    ...     alpha=3e-3, penalty="group", lr=3e-3, max_epochs=4, random_state=0)
    >>> pruned = prune(clf.fit(X[:500], y[:500]))
    >>> clf.module_.dense1
    Linear(in_features=1024, out_features=128, bias=True)
    >>> pruned.module_.dense1.out_features < 128
    True
    >>> bool(np.allclose(pruned.predict_proba(X), clf.predict_proba(X), atol=1e-5))
    True
    """
    estimator = check_classifier(estimator)
    check_is_fitted(estimator)
    pruned = _copied(estimator)
    net = pruned.net_
    with isolated(0, torch.device("cpu")), _in_float64(net.module_.eval()):
        links = _chosen(find_links(net.module_, estimator.image_shape_), layers)
        for link in links:
            silence(link, _small(filter_norms(link), threshold, fraction))
        support = _remove_all(links)
    _update_optimizer(net)
    return (pruned, support) if return_support else pruned


def check_classifier(estimator):
    """Return the classifier to prune, which may be inside a FrozenEstimator."""
    _, clf = unwrap(estimator, lambda inner: True, FROZEN)
    if isinstance(clf, L2CNNClassifier):
        return clf
    raise TypeError(
        f"A {type(clf).__name__} cannot be pruned; an L2CNNClassifier was expected. "
        "Pass the best_estimator_ of a search, or the last step of a pipeline."
    )


def _copied(estimator):
    """Copy a fitted classifier without pickling the net, as skorch's own copy does."""
    net = estimator.net_
    copied_net = object.__new__(type(net))
    memo = {id(net): copied_net}  # for deepcopy: the copy of the net is there already
    vars(copied_net).update(copy.deepcopy(vars(net), memo))
    return copy.deepcopy(estimator, memo)


@contextmanager
def _in_float64(network):
    """Move a network to the CPU in float64; restore device and dtypes afterwards."""

    def tensors():
        return dict([*network.named_parameters(), *network.named_buffers()])

    before = {name: (tensor.device, tensor.dtype) for name, tensor in tensors().items()}
    network.cpu().double()
    yield
    for name, tensor in tensors().items():
        # a new bias has the device and dtype of the weight of its layer
        weight = f"{layer_of(name)}.weight"
        tensor.data = tensor.data.to(*before.get(name) or before[weight])
        tensor.grad = None
    contiguous(network)


def _chosen(links, layers):
    """Return the links that patterns select; raise if one of them cannot be pruned."""
    if not links:
        raise ValueError(
            "The network has no layer that could lose filters: it has no convolution "
            "or dense layer in front of another one."
        )
    if layers is not None:
        patterns = [layers] if isinstance(layers, str) else layers
        names = by_pattern(patterns, [link.name for link in links], "layers")
        links = [link for link in links if link.name in names]
    good = [link.name for link in links if link.problem is None]
    others = f"Leave it out with layers={good!r}" if good else "Nor can any other"
    for link in links:
        if link.problem is not None:
            raise ValueError(
                f"Layer {link.name!r}, whose filters {link.reader_name!r} reads, "
                f"cannot be pruned: {link.problem} {others}."
            )
    return links


def _small(norms, threshold, fraction):
    """Return a mask of the filters whose norms are too small."""
    small = norms <= float(threshold)  # a whole number may be too large for torch
    # 0.29 * 100 is a little less than 29
    n_least = math.floor(fraction * len(norms) + 1e-9)
    small[norms.argsort(stable=True)[:n_least]] = True
    return small


def _remove_all(links):
    """Remove filters until no more can go; return masks of those that are kept.

    Without a filter of one layer, filters of others may become unread or constant.
    """
    support = {link.name: np.ones(len(link.layer.weight), bool) for link in links}
    changed = True
    while changed:
        changed = False
        for link in links:
            kept, mask = remove(link).numpy(), support[link.name]
            mask[mask] = kept
            changed |= not kept.all()
    return support


def _update_optimizer(net):
    """Make the optimizer of a net train the pruned network."""
    net.module = net.module_
    net.starts = net.starts and starts_of(net.module_)
    optimizer = net.optimizer_
    optimizer.state.clear()  # its shapes are those before pruning
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    frozen = list(net.frozen.parameters)
    for name, parameter in net.module_.named_parameters():
        if id(parameter) in known:
            continue
        weight = f"{layer_of(name)}.weight"
        if weight in frozen:
            frozen.append(name)
        weight = net.module_.get_parameter(weight)
        for group in optimizer.param_groups:
            if any(p is weight for p in group["params"]):
                group["params"].append(parameter)
    net.frozen = net.frozen._replace(parameters=tuple(frozen))

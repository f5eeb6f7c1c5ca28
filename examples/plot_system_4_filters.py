"""
Twenty classes at many sizes, and the number of filters that stay alive
=======================================================================

Images of 20 classes and of many sizes: digits and colour pictures, ten classes each,
every image at a random size before all are resized to one. The network has four padded
convolutions and 512 dense units. L2 is said to select features; the example counts how
many of the 202 filters stay alive as alpha grows, with L2, L1 and the group penalty,
which penalises whole filters, and with dropout instead of a penalty.

    python examples/plot_system_4_filters.py                on digits and on photographs
    python examples/plot_system_4_filters.py --data DIR     on 300 of MNIST and CIFAR-10

With a CUDA device add `--rows 50000 --jobs 1`; two cores take days for that.
"""

# %%
# The images, each resized to a random size, then all to the same.
import numpy as np
import torch
from _systems import (
    Split,
    best_alpha,
    colour_images,
    compare,
    fit_all,
    grey_images,
    plt,
    read_options,
    save,
)
from sklearn.base import clone

from sklearn_l2cnn import L2CNNClassifier

options = read_options(__doc__, "filters.png", rows=(180, 300), epochs=(6, 8), seeds=3)
SIDE = 8 if options.data is None else 32


def at_random_sizes(images, seed):
    """Resize each image to a random size, and then to SIDE x SIDE x 3."""
    rng = np.random.RandomState(seed)
    found = np.empty((len(images), SIDE, SIDE, 3), dtype=np.float32)
    for place, image in zip(found, images, strict=True):
        pixels = torch.tensor(np.atleast_3d(image), dtype=torch.float32)
        pixels = pixels.permute(2, 0, 1)[None].expand(1, 3, -1, -1)
        for side in (rng.randint(SIDE // 2, 2 * SIDE), SIDE):
            pixels = torch.nn.functional.interpolate(
                pixels, size=(side, side), mode="bilinear", antialias=True
            )
        place[:] = pixels[0].permute(1, 2, 0)
    return found


def twenty_classes(options):
    """Combine the ten classes of digits with ten of colour pictures."""
    grey, colour = grey_images(options), colour_images(options, side=SIDE)
    most = 300 if options.data is None else 1000
    X, X_test = (
        np.concatenate(
            [
                at_random_sizes(part / part.max(), seed)
                for seed, part in enumerate(parts)
            ]
        )
        for parts in (
            (grey.X, colour.X),
            (grey.X_test[:most], colour.X_test[:most]),
        )
    )
    y, y_test = (
        np.concatenate([first, 10 + second])
        for first, second in (
            (grey.y, colour.y),
            (grey.y_test[:most], colour.y_test[:most]),
        )
    )
    order = np.random.RandomState(0).permutation(len(y))
    return Split(X[order], y[order], X_test, y_test)


split = twenty_classes(options)

# %%
# The system, its strength by cross-validation, and the comparison.
system = L2CNNClassifier(
    alpha=1e-3, architecture="four_conv", max_epochs=options.epochs, random_state=0
)
best = best_alpha(system, [0.0, 1e-4, 1e-3, 1e-2], split, options)
variants = {
    "no penalty": clone(system).set_params(alpha=0),
    "L2 0.001": system,
    "L2 by cross-validation": clone(system).set_params(alpha=best),
    "dropout 0.5": clone(system).set_params(alpha=0, dropout=0.5),
}
_, fitted = compare(variants, split, options, keep=True)


# %%
# A filter is alive if its norm is more than a hundredth of the largest of its layer.
# Almost nothing but the bias of the others reaches the next layer.
def alive(clf):
    count = 0
    for name in ("conv1", "conv2", "conv3", "conv4"):
        weight = clf.module_.get_submodule(name).weight.detach()
        norms = weight.flatten(1).norm(dim=1)
        count += int((norms > 0.01 * norms.max()).sum())
    return count


alphas = {
    "l2": [1e-3, 1e-2, 1e-1],
    "l1": [3e-4, 1e-3, 3e-3],
    "group": [5e-4, 1e-3, 2e-3],
}
grid = [(penalty, alpha) for penalty in alphas for alpha in alphas[penalty]]
found = fit_all(
    [clone(system).set_params(penalty=p, alpha=alpha) for p, alpha in grid],
    split,
    options,
)
print("filters alive of 202, and test accuracy:")
for name in ("no penalty", "dropout 0.5"):
    print(f"  {name:<18} {alive(fitted[name]):4d}")
rows = []
for (penalty, alpha), (score, clf) in zip(grid, found, strict=True):
    rows.append((penalty, alpha, alive(clf), score))
    print(f"  {penalty:<6} {alpha:<10g}  {rows[-1][2]:4d}   {score:.3f}")

# %%
# The picture: a penalty that selects filters leaves few, at the same accuracy.
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True, layout="constrained")
colours = {"l2": "#0072b2", "l1": "#d55e00", "group": "#009e73"}
for penalty, colour in colours.items():
    own = [row[1:] for row in rows if row[0] == penalty]
    strengths, counts, scores = zip(*own, strict=True)
    marker = {"l2": "o", "l1": "s", "group": "^"}[penalty]
    axes[0].plot(strengths, counts, marker=marker, color=colour, label=penalty)
    axes[1].plot(strengths, scores, marker=marker, color=colour, label=penalty)
dropout = alive(fitted["dropout 0.5"])
axes[0].axhline(dropout, color="#56606b", ls=":", label="dropout 0.5, no penalty")
axes[0].set(xscale="log", xlabel="alpha", ylabel="filters alive, of 202")
axes[0].set_ylim(0, 210)
axes[1].set(xlabel="alpha", ylabel="test accuracy, 20 classes")
axes[0].legend()
for ax in axes:
    ax.grid(alpha=0.3)
save(figure, options)

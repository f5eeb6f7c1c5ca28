"""
CIFAR-10 with a residual network and L2 on its last activity
============================================================

torchvision's ResNet-18 with a stem for small images and a head of 128 units with batch
norm, trained by Adam at a learning rate of 0.001. The penalty is not on the weights but
on the output of the last hidden layer: 0.001 times its squared norm. It is compared
with L1 on the weights, dropout, and the head without its batch norm.

    python examples/plot_system_3_resnet18.py                on digits on photographs
    python examples/plot_system_3_resnet18.py --data DIR     on 500 of CIFAR-10

With a CUDA device add `--rows 50000 --jobs 1`; two cores take days for that.
"""

# %%
# The images: digits in colour on crops of photographs, or CIFAR-10.
from _systems import (
    best_parameter,
    colour_images,
    compare,
    dots,
    plt,
    read_options,
    save,
)
from sklearn.base import clone
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.architectures import build_network

options = read_options(__doc__, "resnet18.png", rows=(72, 500), epochs=(3, 8), seeds=2)
split = colour_images(options, side=8)
tested = 2000 if options.data else 300
split = split._replace(X_test=split.X_test[:tested], y_test=split.y_test[:tested])

# %%
# The system.
system = L2CNNClassifier(
    alpha=0,
    activity_alpha=1e-3,
    architecture="resnet18",
    lr=1e-3,
    batch_size=128 if options.data else 24,
    max_epochs=options.epochs,
    random_state=0,
)


def without_norm(input_shape, n_classes):
    """Return the network without the batch norm of the head."""
    network = build_network("resnet18", input_shape, n_classes)
    network.fc.norm = nn.Identity()
    return network


# %%
# The strength by cross-validation, and the comparison.
best = best_parameter(system, "activity_alpha", [0.0, 1e-3, 1e-2], split, options)
nothing = clone(system).set_params(activity_alpha=0)
variants = {
    "no penalty": nothing,
    "L2 on activity, 0.001": system,
    "by cross-validation": clone(system).set_params(activity_alpha=best),
    "L1 on weights, 0.0001": clone(nothing).set_params(penalty="l1", alpha=1e-4),
    "dropout 0.5": clone(nothing).set_params(dropout=0.5),
    "no batch norm in the head": clone(nothing).set_params(architecture=without_norm),
}
accuracy, _ = compare(variants, split, options)

# %%
# The picture.
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
dots(ax, accuracy)
ax.set_title(f"resnet18, {len(split.y)} images, {options.epochs} epochs")
save(figure, options)

"""
CIFAR-10 with L2 on the dense layers, compared with L1
======================================================

Two convolutions 3 x 3 of 32 and 64 filters, each pooled, and 128 dense units, trained
by Adam in batches of 64 for 10 epochs. The penalty of 0.001 is on the weights of the
dense layers only, which are most of all weights. L1 of the same strength shows the
difference: it makes weights zero, while L2 makes all of them small and none zero.

    python examples/plot_system_2_conv_pool.py                on digits on photographs
    python examples/plot_system_2_conv_pool.py --data DIR     on CIFAR-10
"""

# %%
# The images: digits in colour on crops of photographs, or CIFAR-10.
import numpy as np
from _systems import best_alpha, colour_images, compare, plt, read_options, save
from sklearn.base import clone

from sklearn_l2cnn import L2CNNClassifier

options = read_options(
    __doc__, "conv_pool.png", rows=(None, None), epochs=(20, 10), seeds=4
)
split = colour_images(options)


# %%
# The system: a penalty on each dense layer, none on the convolutions.
def on_dense_layers(strength):
    return {"dense1": strength, "logits": strength}


system = L2CNNClassifier(
    alpha=on_dense_layers(1e-3),
    architecture="conv_pool",
    lr_schedule=None,
    batch_size=64,
    max_epochs=options.epochs,
    random_state=0,
)

# %%
# The strength by cross-validation, and the comparison.
best = best_alpha(
    system,
    [on_dense_layers(strength) for strength in (0, 1e-4, 1e-3, 1e-2, 1e-1)],
    split,
    options,
)
variants = {
    "no penalty": clone(system).set_params(alpha=0),
    "L2 0.001": system,
    "L2 by cross-validation": clone(system).set_params(alpha=best),
    "L1 0.001": clone(system).set_params(penalty="l1"),
}
_, fitted = compare(variants, split, options, keep=True)

# %%
# The picture: the distribution of the weights of the first dense layer.
figure, axes = plt.subplots(
    1, 3, figsize=(10, 3), sharex=True, sharey=True, layout="constrained"
)
names = ["no penalty", "L2 0.001", "L1 0.001"]
colours = ["#56606b", "#0072b2", "#d55e00"]
weights_of = {
    name: fitted[name].module_.dense1.weight.detach().numpy().ravel() for name in names
}
reach = np.quantile(np.abs(weights_of["no penalty"]), 0.998)
for ax, name, colour in zip(axes, names, colours, strict=True):
    weights = weights_of[name]
    ax.hist(weights, np.linspace(-reach, reach, 80), color=colour)
    zeros = (weights == 0).mean()
    print(f"{name}: {zeros:.1%} of {len(weights)} weights of dense1 are exactly zero")
    ax.set(title=f"{name}: {zeros:.0%} exactly zero", yscale="log", xlabel="weight")
axes[0].set_ylabel("weights of the dense layer")
save(figure, options)

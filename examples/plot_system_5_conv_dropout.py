"""
MNIST with a strength for each layer, a plateau, and a bound on the norms
=========================================================================

Two convolutions 3 x 3, 64 dense units and dropout of 0.5, trained by Adam for 5 epochs
in batches of 128; a tenth of the images are validation data, and the learning rate is
reduced when the loss on them stops falling. Each convolution and each activation has
its own strength. A similar constraint: `max_norm` bounds the norm of filters and units.

    python examples/plot_system_5_conv_dropout.py                on the embedded digits
    python examples/plot_system_5_conv_dropout.py --data DIR     on MNIST
"""

# %%
# The images: the 8 x 8 digits of scikit-learn, or MNIST.
from _systems import best_alpha, compare, dots, grey_images, plt, read_options, save
from sklearn.base import clone

from sklearn_l2cnn import L2CNNClassifier

options = read_options(
    __doc__, "conv_dropout.png", rows=(None, None), epochs=(12, 5), seeds=4
)
split = grey_images(options)


# %%
# The system. `early_stopping` holds out the validation data, and restores the weights
# of the epoch with the best score on them.
def strengths(factor):
    return {"conv1": 1e-4 * factor, "conv2": 3e-4 * factor}


system = L2CNNClassifier(
    alpha=strengths(1),
    activity_alpha={"relu1": 1e-5, "relu2": 1e-5, "relu3": 1e-4},
    architecture="conv_dropout",
    lr_schedule="plateau",
    batch_size=128 if options.data else 32,
    max_epochs=options.epochs,
    early_stopping=True,
    validation_fraction=0.1,
    n_iter_no_change=options.epochs,
    random_state=0,
)

# %%
# The strength by cross-validation, and the comparison.
factors = [0, 0.1, 1, 10, 100]
best = best_alpha(system, [strengths(factor) for factor in factors], split, options)
nothing = clone(system).set_params(alpha=0, activity_alpha=0)
variants = {
    "no penalty": nothing,
    "a strength for every layer": system,
    "by cross-validation": clone(system).set_params(alpha=best),
    "max_norm=2": clone(nothing).set_params(max_norm=2.0),
    "max_norm=1": clone(nothing).set_params(max_norm=1.0),
}
accuracy, fitted = compare(variants, split, options, keep=True)

# %%
# The picture: accuracy, and the norms of filters and units.
figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 3.2), layout="constrained", width_ratios=(3, 2)
)
dots(left, accuracy)
left.set_title(f"conv_dropout, {options.epochs} epochs")
for name, style in (
    ("no penalty", "-"),
    ("a strength for every layer", "--"),
    ("max_norm=1", ":"),
):
    layers = [fitted[name].module_.get_submodule(k) for k in ("conv2", "dense1")]
    norms = [float(n) for k in layers for n in k.weight.detach().flatten(1).norm(dim=1)]
    right.plot(sorted(norms), style, color="#0072b2", label=name)
right.set(
    xlabel="filters of conv2 and units of dense1, sorted", ylabel="norm", ylim=(0, None)
)
right.legend()
right.grid(alpha=0.3)
save(figure, options)

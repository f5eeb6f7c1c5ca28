"""
MNIST with two wide convolutions and SGD
========================================

Two convolutions 5 x 5 of 64 filters, each pooled, and 512 dense units, trained by SGD
at a learning rate of 0.01 in batches of 64 for 10 epochs, on standardised pixels. The
system specifies no strength of the penalty, so it uses the default of the package.

    python examples/plot_system_1_two_conv.py                on the embedded digits
    python examples/plot_system_1_two_conv.py --data DIR     on MNIST
"""

# %%
# The images: the 8 x 8 digits of scikit-learn, or MNIST.
from _systems import best_alpha, compare, dots, grey_images, plt, read_options, save
from sklearn.base import clone

from sklearn_l2cnn import L2CNNClassifier

options = read_options(
    __doc__, "two_conv.png", rows=(None, None), epochs=(10, 10), seeds=5
)
split = grey_images(options)

# %%
# The system; `standardize=True` and `momentum=0.9` are defaults.
system = L2CNNClassifier(
    alpha=1e-4,
    architecture="two_conv",
    optimizer="sgd",
    lr=0.01,
    batch_size=64,
    max_epochs=options.epochs,
    random_state=0,
)

# %%
# The strength by cross-validation, and the comparison.
best = best_alpha(system, [0.0, 1e-4, 1e-3, 1e-2], split, options)
strengths = {"no penalty": 0.0, "alpha=0.0001": 1e-4, "by cross-validation": best}
variants = {
    name: clone(system).set_params(alpha=alpha) for name, alpha in strengths.items()
}
accuracy, _ = compare(variants, split, options)

# %%
# The picture.
figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
dots(ax, accuracy)
ax.set_title("two_conv, SGD, 10 epochs")
save(figure, options)

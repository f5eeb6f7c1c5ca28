"""The same training with Keras' scikit-learn wrapper, on the backend of this process.

Keras reads the environment variable KERAS_BACKEND when it is imported, once. It draws
its own order of the images. The wrapper takes rows alone, so that the network begins by
unflattening them.
"""

import contextlib
import io

from keras import layers, losses, models, optimizers, regularizers, utils
from keras.wrappers import SKLearnClassifier
from torch import nn

from benchmarks._peers import Pixels, Trained


def keras(task):
    """Train a new model."""
    pixels = Pixels(task.X)

    def images(X):
        return pixels(X).permute(0, 2, 3, 1).flatten(1).numpy()

    recipe = {"batch_size": task.batch_size, "epochs": task.epochs, "verbose": 0}
    model = SKLearnClassifier(lambda X, y: compiled(task), fit_kwargs=recipe)
    model.fit(images(task.X), task.y)

    def predict(X):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a progress bar
            return model.predict(images(X))

    def again():
        model.model_.fit(images(task.X), utils.to_categorical(task.y), **recipe)

    return Trained(predict, model.history_.history["loss"], again)


def compiled(task):
    """Return the network of a task with its first weights, ready to be trained."""
    model = models.Sequential([*network(task)])
    model.compile(
        optimizer=optimizers.Adam(task.lr, epsilon=1e-8),
        loss=losses.CategoricalCrossentropy(from_logits=True),
    )
    model.set_weights([*weights(task.network(relu_first=True))])
    return model


def network(task):
    """Yield two convolutions, each pooled, and a dense layer."""

    def penalty():
        return regularizers.L2(task.alpha / 2)

    height, width, depth = task.X.shape[1:]
    yield layers.Input((height * width * depth,))
    yield layers.Reshape((height, width, depth))
    for filters in (task.width, 2 * task.width):
        yield layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_regularizer=penalty(),
        )
        yield layers.MaxPooling2D(2)
    yield layers.Permute((3, 1, 2))  # the order of torch
    yield layers.Flatten()
    yield layers.Dense(10, kernel_regularizer=penalty())


def weights(network):
    """Yield the weights of torch's layers as arrays of Keras' shapes."""
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            yield layer.weight.detach().permute(2, 3, 1, 0).numpy()
            yield layer.bias.detach().numpy()
        elif isinstance(layer, nn.Linear):
            yield layer.weight.detach().T.numpy()
            yield layer.bias.detach().numpy()

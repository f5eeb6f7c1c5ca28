"""What many configurations end with, as hashes, to compare before and after a change.

    python -m benchmarks.outcomes NEW          writes a hash for every configuration
    python -m benchmarks.outcomes NEW OLD      and says which differ from another file

Hashes hold on one machine, with one set of releases.
"""

import hashlib
import json
import os
import sys
import tempfile
import warnings
from functools import partial

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from torch import nn

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn.augmentation import Augmentation
from sklearn_l2cnn.datasets import make_shapes
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import FilterSelector, PixelSelector, prune
from sklearn_l2cnn.inspection import saliency
from sklearn_l2cnn.preprocessing import ChannelStandardizer, PatchWhitener

RNG = np.random.RandomState(0)
DIGITS = load_digits()
X = (DIGITS.images[:150] * 15).astype(np.uint8)
Y = DIGITS.target[:150]
X_TEST = (DIGITS.images[150:200] * 15).astype(np.uint8)
WEIGHT = RNG.randint(0, 4, len(Y)) / 2


def tiny(input_shape, n_classes):
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(height * width, 16),
        nn.ReLU(),
        nn.Linear(16, n_classes),
    )


def double(input_shape, n_classes):
    return tiny(input_shape, n_classes).double()


def normed(input_shape, n_classes):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * input_shape[1] * input_shape[2], n_classes),
    )


def odd(input_shape, n_classes):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 5, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 37),
        nn.ReLU(),
        nn.Linear(37, n_classes),
    )


class Own(nn.Module):
    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.conv = nn.Conv2d(input_shape[0], 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(8 * input_shape[1] * input_shape[2], n_classes)

    def forward(self, images):
        images = torch.relu(self.norm(self.conv(images)))
        return self.head(self.drop(images.flatten(1)))


CLASSIFIERS = {
    "default": {"max_epochs": 3},
    **{
        name: {"architecture": name, "max_epochs": 2}
        for name in ("two_conv", "conv_pool", "four_conv", "conv_dropout", "unet")
    },
    "resnet18": {"architecture": "resnet18", "max_epochs": 1},
    "vgg11": {"architecture": "vgg11", "max_epochs": 1},
    "double": {"architecture": double},
    "normed": {"architecture": normed},
    "odd": {"architecture": odd},
    "own": {"architecture": Own},
    "module": {"architecture": "MODULE"},
    "l1": {"penalty": "l1", "alpha": 1e-2},
    "elasticnet": {"penalty": "elasticnet", "alpha": 1e-2, "l1_ratio": 0.3},
    "group": {"penalty": "group", "alpha": 1e-2, "optimizer": "sgd", "lr": 0.05},
    "no penalty": {"penalty": None},
    "penalize all": {"penalize": "all", "alpha": 0.1},
    "layers": {"alpha": {"0": 0.1, "4": 0.01}},
    "adamw": {"optimizer": "adamw", "alpha": 0.1},
    "sgdw": {"optimizer": "sgdw", "alpha": 0.1, "lr": 0.02},
    "adamw group": {"optimizer": "adamw", "penalty": "group", "alpha": 0.05},
    "sgd": {"optimizer": "sgd", "lr": 0.02},
    "sgd plain": {"optimizer": "sgd", "lr": 0.02, "momentum": 0.0, "penalty": "l1"},
    "rmsprop": {"optimizer": torch.optim.RMSprop},
    "adamw class": {"optimizer": partial(torch.optim.AdamW, weight_decay=0)},
    "lbfgs": {
        "optimizer": partial(torch.optim.LBFGS, max_iter=3),
        "lr": 0.1,
        "batch_size": 200,
    },
    "activity last": {"activity_alpha": 1e-3},
    "activity relu": {"activity_alpha": {"1": 1e-3, "5": 1e-3}},
    "activity all plain": {
        "architecture": "plain",
        "activity_alpha": {"relu*": 1e-3},
        "max_epochs": 2,
    },
    "max_norm": {"max_norm": 0.5, "gradient_clip": 0.5, "label_smoothing": 0.1},
    "cosine sgd": {"optimizer": "sgd", "lr_schedule": "cosine", "lr": 0.05},
    "onecycle": {"lr_schedule": "onecycle", "lr": 1e-2},
    "plateau": {"lr_schedule": "plateau", "lr": 0.3, "max_epochs": 9},
    "constant": {"lr_schedule": None},
    "early": {
        "early_stopping": True,
        "max_epochs": 12,
        "n_iter_no_change": 2,
        "lr": 1e-2,
    },
    "balanced": {"class_weight": "balanced"},
    "class weights": {"class_weight": {0: 3.0, 1: 0.5}},
    "raw pixels": {"standardize": False},
    "batch": {"batch_size": 16},
    "bfloat16": {"precision": "bfloat16"},
    "flip shift": {"augment": ["flip", "shift", "cutout"]},
    "crop mixup": {"augment": ["crop", "mixup"]},
    "rotate": {"augment": Augmentation(rotate=10, brightness=0.1)},
    "tta": {"tta": ["flip", "shift"]},
    "frozen": {"freeze": "0"},
    "dropout": {"architecture": "plain", "dropout": 0.3, "max_epochs": 2},
}


def digest(*arrays):
    found = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        found.update(str((array.shape, array.dtype)).encode() + array.tobytes())
    return found.hexdigest()[:16]


def classifier(**parameters):
    if parameters.get("architecture") == "MODULE":
        torch.manual_seed(3)
        parameters["architecture"] = tiny((1, 8, 8), 10)
    defaults = {"architecture": tiny, "max_epochs": 4, "random_state": 0}
    return L2CNNClassifier(**(defaults | parameters))


def outcome(clf, *fit, images=X_TEST, **options):
    clf.fit(*(fit or (X, Y)), **options)
    return digest(
        clf.predict_proba(images),
        np.array(clf.loss_curve_),
        np.array(clf.penalty_curve_),
    )


def of_search(clf, *fit, **options):
    clf.fit(*(fit or (X, Y)), **options)
    results = clf.cv_results_
    return digest(
        clf.predict_proba(X_TEST) if clf.refit else np.zeros(1),
        results["mean_test_score"],
        np.array(clf.losses_path_),
        np.array(clf.scores_path_),
        np.array(clf.norms_path_),
    )


def search(**parameters):
    defaults = {
        "alphas": [1e-3, 0.1, 1e-2],
        "cv": 3,
        "architecture": tiny,
        "max_epochs": 3,
        "random_state": 0,
    }
    return L2CNNClassifierCV(**(defaults | parameters))


def others():
    yield "sample weight", lambda: outcome(classifier(), X, Y, WEIGHT)
    yield (
        "weight balanced early",
        lambda: outcome(
            classifier(class_weight="balanced", early_stopping=True), X, Y, WEIGHT
        ),
    )
    yield (
        "validation data",
        lambda: outcome(
            classifier(early_stopping=True),
            X[:100],
            Y[:100],
            X_val=X[100:],
            y_val=Y[100:],
        ),
    )
    yield "floats", lambda: outcome(classifier(), X / 255.0, Y, images=X_TEST / 255.0)
    yield (
        "rows",
        lambda: outcome(
            classifier(), X.reshape(len(X), -1), Y, images=X_TEST.reshape(50, -1)
        ),
    )
    yield "strings", lambda: outcome(classifier(), X, np.array(list("abcdefghij"))[Y])

    def warm():
        clf = classifier(warm_start=True).fit(X, Y)
        return outcome(clf, X, Y)

    def partial_fits():
        clf = classifier(class_weight="balanced")
        clf.partial_fit(X[:70], Y[:70], classes=np.arange(10))
        clf.partial_fit(X[70:], Y[70:], sample_weight=WEIGHT[70:])
        return digest(clf.predict_proba(X_TEST), np.array(clf.loss_curve_))

    yield "warm start", warm
    yield "partial fit", partial_fits

    def colour():
        shapes = make_shapes(80, size=12, random_state=0)
        images = np.stack(
            [shapes.images, shapes.images[:, ::-1], shapes.images], axis=-1
        )[..., :3]
        images = images if images.ndim == 4 else images.reshape(*images.shape[:3], -1)
        return outcome(
            classifier(architecture="plain", max_epochs=2),
            images,
            shapes.target,
            images=images[:20],
        )

    yield "colour", colour
    yield "search", lambda: of_search(search())
    yield (
        "search plain",
        lambda: of_search(search(architecture="plain", max_epochs=2, cv=2)),
    )
    yield "search grid", lambda: of_search(search(alphas=3, one_standard_error=True))
    yield "search warm", lambda: of_search(search(path="warm"))
    yield "search own", lambda: of_search(search(architecture=Own, cv=2, max_epochs=2))
    yield (
        "search own warm",
        lambda: of_search(search(architecture=Own, cv=2, max_epochs=2, path="warm")),
    )
    yield "search normed", lambda: of_search(search(architecture=normed))
    yield (
        "search early",
        lambda: of_search(
            search(early_stopping=True, max_epochs=8, n_iter_no_change=2)
        ),
    )
    yield (
        "search weights",
        lambda: of_search(search(class_weight="balanced"), X, Y, WEIGHT),
    )
    yield "search augment", lambda: of_search(search(augment=["flip", "shift"]))
    yield "search mixup", lambda: of_search(search(augment="mixup"))
    yield (
        "search group sgd",
        lambda: of_search(search(penalty="group", optimizer="sgd")),
    )
    yield "search layers", lambda: of_search(search(alphas=[{"0": 0.1}, {"*": 0.3}]))
    yield (
        "search plateau",
        lambda: of_search(search(lr_schedule="plateau", lr=0.1, max_epochs=8)),
    )
    yield (
        "search dropout",
        lambda: of_search(search(architecture="conv_dropout", max_epochs=2, cv=2)),
    )
    yield (
        "search macro",
        lambda: of_search(
            search(
                scoring="balanced_accuracy",
                cv=StratifiedKFold(3, shuffle=True, random_state=1),
            )
        ),
    )
    yield "search no refit", lambda: of_search(search(refit=False))

    def grid():
        found = GridSearchCV(
            classifier(max_epochs=2), {"alpha": [1e-3, 1e-1]}, cv=2
        ).fit(X, Y)
        return digest(found.cv_results_["mean_test_score"], found.predict_proba(X_TEST))

    yield "grid search", grid

    def features(**options):
        estimator = CNNFeatures(classifier(max_epochs=2), **options).fit(X, Y)
        return digest(estimator.transform(X_TEST))

    yield "features last", lambda: features()
    yield "features layers", lambda: features(layer=["0", "4"], pool="mean")

    def backbone():
        torch.manual_seed(0)
        from sklearn_l2cnn.architectures import build_network

        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "state.pt")
            torch.save(build_network("resnet18", (1, 8, 8), 4).state_dict(), path)
            return digest(
                CNNFeatures("resnet18", pretrained=path).fit(X).transform(X_TEST)
            )

    yield "backbone", backbone

    def pixels():
        selector = PixelSelector(classifier(max_epochs=2), max_features=20).fit(
            X, Y, WEIGHT
        )
        return digest(selector.pixel_importances_, selector.transform(X_TEST))

    yield "pixels", pixels

    def filters():
        clf = classifier(architecture="conv_pool", max_epochs=2)
        selector = FilterSelector(clf, fraction=0.25).fit(X, Y)
        return digest(selector.predict_proba(X_TEST))

    yield "filters", filters

    def pruned():
        clf = classifier(penalty="group", alpha=5e-2, lr=1e-2, max_epochs=8).fit(X, Y)
        return digest(prune(clf).predict_proba(X_TEST))

    yield "pruned", pruned

    def maps(method):
        clf = classifier(max_epochs=2).fit(X, Y)
        return digest(saliency(clf, X_TEST[:5], method=method))

    for method in ("gradient", "integrated_gradients", "grad_cam", "occlusion"):
        yield f"saliency {method}", partial(maps, method)

    def transformed(transformer):
        return digest(transformer.fit(X).transform(X_TEST))

    yield "standardizer", lambda: transformed(ChannelStandardizer())
    yield "whitener", lambda: transformed(PatchWhitener())

    def memory_map():
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "images.npy")
            np.save(path, X)
            return outcome(classifier(), np.load(path, mmap_mode="r"), Y)

    yield "memory map", memory_map


def configurations():
    for name, parameters in CLASSIFIERS.items():
        yield name, lambda parameters=parameters: outcome(classifier(**parameters))
    yield from others()


def main(path, before=None):
    warnings.simplefilter("ignore")
    found = {}
    for name, run in configurations():
        try:
            found[name] = run()
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
            print(name, "FAILED", found[name][:300], flush=True)
    with open(path, "w") as file:
        json.dump(found, file, indent=1)
    print(len(found), "configurations")
    if before is None:
        return
    with open(before) as file:
        before = json.load(file)
    for name in sorted(found.keys() | before.keys()):
        if found.get(name) != before.get(name):
            print("differs:", name)


if __name__ == "__main__":
    main(*sys.argv[1:])

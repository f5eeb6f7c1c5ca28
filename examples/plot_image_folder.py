"""
A folder of pictures of all sizes, in a search
==============================================

The data are the paths of the files: an `ImageReader` reads them and resizes the images
to one size, the pixels are standardised, and `GridSearchCV` searches the strength of
the penalty, the size and the augmentation together. All steps are fitted to the
training folds only.

    python examples/plot_image_folder.py                 on shapes, written as JPEGs
    python examples/plot_image_folder.py --folder DIR    on DIR/cat/1.jpg, DIR/dog/...
"""

# %%
# The files: a folder for each class; by default, shapes on photographs.
import argparse
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.augmentation import Augmentation
from sklearn_l2cnn.datasets import make_shapes, read_image_folder
from sklearn_l2cnn.preprocessing import ChannelStandardizer, ImageReader

matplotlib.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
parser.add_argument("--folder", metavar="DIR", help="a folder for every class in it")
parser.add_argument("--files", type=int, default=400, help="shapes that are written")
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--output", default="image_folder.png", metavar="FILE")
options = parser.parse_args()


def write_shapes(folder, n):
    """Write n shapes on crops of photographs as JPEGs of random sizes."""
    rng = np.random.RandomState(0)
    shapes = make_shapes(n, size=24, noise=0, random_state=0)
    photographs = load_sample_images().images
    for k, (mask, label) in enumerate(zip(shapes.masks, shapes.target, strict=True)):
        photograph = photographs[k % 2]
        top, left = (rng.randint(side - 96) for side in photograph.shape[:2])
        image = photograph[top : top + 96 : 4, left : left + 96 : 4] // 2
        image[mask] = image[mask] // 4 + rng.randint(90, 190, size=3)
        side = tuple(int(s) for s in rng.randint(32, 200, size=2))
        path = Path(folder) / shapes.target_names[label]
        path.mkdir(exist_ok=True)
        Image.fromarray(image).resize(side, Image.Resampling.BICUBIC).save(
            path / f"{k:03d}.jpg", quality=90
        )


made = tempfile.TemporaryDirectory()
if options.folder is None:
    write_shapes(made.name, options.files)
data = read_image_folder(options.folder or made.name, as_frame=True)
X, X_test, y, y_test = train_test_split(
    data.paths, data.target, test_size=0.25, random_state=0, stratify=data.target
)
print(f"{len(data.frame)} files, the first of them:\n{data.frame.head(3)}\n")

# %%
# The search. Names of steps and parameters address the reader and the augmentation.
pipeline = make_pipeline(
    ImageReader(aspect="stretch", n_jobs=2),
    ChannelStandardizer(),
    L2CNNClassifier(
        augment=Augmentation(flip=True), max_epochs=options.epochs, random_state=0
    ),
)
grid = {
    "imagereader__size": [(16, 16), (24, 24)],
    "l2cnnclassifier__alpha": [1e-4, 1e-2],
    "l2cnnclassifier__augment__crop": [0.0, 0.1],
}
search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
print("size       alpha    crop   accuracy")
results = search.cv_results_
order = np.argsort(-results["mean_test_score"])
for k in order:
    size, alpha, crop = (results["params"][k][name] for name in grid)
    mean, spread = results["mean_test_score"][k], results["std_test_score"][k]
    print(f"{size!s:<10} {alpha:<8g} {crop:<6g} {mean:.3f} +- {spread:.3f}")
print(f"on {len(y_test)} files that were held out: {search.score(X_test, y_test):.3f}")

# %%
# The picture: files as input of the network, and the confusion matrix.
best = search.best_estimator_
images = best[0].transform(X_test[:12])
found = best.predict(X_test[:12])
figure = plt.figure(figsize=(10, 4.2), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
for ax, image, label, true in zip(
    left.subplots(3, 4).flat, images, found, y_test, strict=False
):
    ax.imshow(image)
    ax.set_title(label, fontsize=9, color="#0072b2" if label == true else "#d55e00")
    ax.axis("off")
left.suptitle("held-out files, and what they are taken for (orange: wrong)", size=9)
ax = right.subplots()
ConfusionMatrixDisplay.from_estimator(best, X_test, y_test, ax=ax, colorbar=False)
ax.set_title(f"accuracy {best.score(X_test, y_test):.2f}", fontsize=10)
ax.tick_params(axis="x", rotation=45)
figure.savefig(options.output, dpi=150)
print(f"picture: {options.output}")
made.cleanup()

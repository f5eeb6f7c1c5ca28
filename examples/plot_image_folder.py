"""
A folder of photographs, in a search
====================================

The data are the paths of files of all sizes, in a folder for each class. An
:class:`~sklearn_l2cnn.preprocessing.ImageReader` in a pipeline reads them and resizes
the images, and ``GridSearchCV`` searches the size, the strength of the penalty and the
augmentation together. All steps are fitted to the training folds only.
"""

# %%
# The files. Here they are made up: shapes on crops of two photographs, JPEGs of random
# sizes. For a folder of your own, call ``read_image_folder`` with its path.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
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

FILES, EPOCHS = 400, 12


def write_shapes(folder, n):
    """Write n shapes on crops of photographs, in a folder for each class."""
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


folder = tempfile.TemporaryDirectory()
write_shapes(folder.name, FILES)
data = read_image_folder(folder.name)
X, X_test, y, y_test = train_test_split(
    data.paths, data.target, test_size=0.25, random_state=0, stratify=data.target
)
names = [str(Path(path).relative_to(folder.name)) for path in X[:3]]
print(f"{len(data.paths)} files: {', '.join(names)} ...")

# %%
# The search. A parameter of a step, or of its augmentation, is named after both.
pipeline = make_pipeline(
    ImageReader(aspect="stretch"),
    ChannelStandardizer(),
    L2CNNClassifier(augment=Augmentation(flip=True), max_epochs=EPOCHS, random_state=0),
)
grid = {
    "imagereader__size": [(16, 16), (24, 24)],
    "l2cnnclassifier__alpha": [1e-4, 1e-2],
    "l2cnnclassifier__augment__crop": [0.0, 0.1],
}
search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
print("size       alpha    crop   accuracy")
results = search.cv_results_
for k in np.argsort(-results["mean_test_score"]):
    size, alpha, crop = (results["params"][k][name] for name in grid)
    mean, spread = results["mean_test_score"][k], results["std_test_score"][k]
    print(f"{size!s:<10} {alpha:<8g} {crop:<6g} {mean:.3f} +- {spread:.3f}")
print(f"accuracy on {len(y_test)} other files: {search.score(X_test, y_test):.3f}")

# %%
# The picture: files as the network sees them, and the confusion matrix.
best = search.best_estimator_
images, found = best[0].transform(X_test[:12]), best.predict(X_test)
figure = plt.figure(figsize=(10, 4.4), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
for ax, image, label, true in zip(
    left.subplots(3, 4).flat, images, found, y_test, strict=False
):
    ax.imshow(image)
    ax.set_title(label, fontsize=9, color="#0072b2" if label == true else "#d55e00")
    ax.axis("off")
left.suptitle("test files and their predictions (orange: wrong)", size=10)
ax = right.subplots()
ConfusionMatrixDisplay.from_predictions(y_test, found, ax=ax, colorbar=False)
ax.set_title(f"{(found == y_test).mean():.0%} of the test files are right", size=10)
ax.tick_params(axis="x", rotation=45)
figure.savefig("image_folder.png", dpi=150)
folder.cleanup()

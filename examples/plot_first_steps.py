"""
First steps
===========

:class:`~sklearn_l2cnn.L2CNNClassifier` is an ordinary classifier of scikit-learn: it
has ``fit``, ``predict``, ``predict_proba`` and ``score``, and works in pipelines and
searches. The images are the 8 x 8 digits of scikit-learn.
"""

# %%
# Images are an array ``(n, height, width)`` or ``(n, height, width, channels)`` of any
# numeric dtype. They need no scaling: the classifier standardises the pixels itself.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.inspection import MistakesDisplay

ROWS, EPOCHS = 300, 15

digits = load_digits()
X, X_test, y, y_test = train_test_split(
    digits.images, digits.target, train_size=ROWS, random_state=0
)
clf = L2CNNClassifier(max_epochs=EPOCHS, random_state=0).fit(X, y)
print(f"{len(X)} images to learn from, accuracy on {len(X_test)} others:")
print(f"{clf.score(X_test, y_test):.3f}")

# %%
# The mistakes of which the classifier is most certain.
MistakesDisplay.from_estimator(clf, X_test, y_test)

# %%
# ``alpha`` is the strength of the L2 penalty. ``GridSearchCV`` searches it as it
# searches the ``alpha`` of ``MLPClassifier``.
alphas = [1e-4, 1e-2, 1e-1, 1]
search = GridSearchCV(clf, {"alpha": alphas}, cv=3, return_train_score=True)
search.fit(X, y)
results = search.cv_results_
train, test = results["mean_train_score"], results["mean_test_score"]
print(" alpha   training folds   held-out fold")
for row in zip(alphas, train, test, results["std_test_score"], strict=True):
    print("{:6.0e}            {:.3f}   {:.3f} +- {:.3f}".format(*row))
print(f"best: alpha={search.best_params_['alpha']:g}")
print(f"accuracy on the test images: {search.score(X_test, y_test):.3f}")

# %%
# The first three alphas differ by less than the deviation between the folds. With the
# last one the penalty is too strong to fit even the training images.
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.plot(alphas, train, "s--", color="#56606b", label="training folds")
ax.errorbar(
    alphas, test, results["std_test_score"], fmt="o-", capsize=3, label="held-out fold"
)
ax.set(xscale="log", xlabel="alpha", ylabel="accuracy")
ax.set_title(f"{ROWS} digits, three folds; bars: standard deviation")
ax.grid(alpha=0.3)
ax.legend()
figure.savefig("first_steps.png", dpi=150)

"""
Choose the strength of the penalty by cross-validation
======================================================

`L2CNNClassifier` is an ordinary scikit-learn estimator, so `GridSearchCV` can search
its `alpha`. The images are 600 of the 8 x 8 digits of scikit-learn, because a penalty
matters most if data are few.
"""

# %%
# The search: five alphas, five folds, two processes.
import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from sklearn_l2cnn import L2CNNClassifier

parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
parser.add_argument("--output", default="accuracy_against_alpha.png", metavar="FILE")
options = parser.parse_args()

digits = load_digits()
X, y = digits.images[:600], digits.target[:600]
search = GridSearchCV(
    L2CNNClassifier(random_state=0),
    {"alpha": [1e-4, 1e-3, 1e-2, 1e-1, 1]},
    cv=StratifiedKFold(5, shuffle=True, random_state=0),
    return_train_score=True,
    n_jobs=2,
)
search.fit(X, y)

# %%
# The table: accuracy on the training folds and on the held-out folds.
results = search.cv_results_
alphas = [float(alpha) for alpha in results["param_alpha"]]
test, spread = results["mean_test_score"], results["std_test_score"]
train = results["mean_train_score"]
print("   alpha   trained on   held out")
for row in zip(alphas, train, test, spread, strict=True):
    print("{:8.0e}      {:.3f}      {:.3f} +- {:.3f}".format(*row))
print(
    f"best: alpha={search.best_params_['alpha']:g}, accuracy {search.best_score_:.3f}"
)

# %%
# The picture: accuracy is constant over a wide range of alpha, and then falls.
import matplotlib  # noqa: E402

matplotlib.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt  # noqa: E402

figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.plot(alphas, train, "s--", color="#56606b", label="trained on")
ax.errorbar(
    alphas, test, yerr=spread, fmt="o-", color="#0072b2", capsize=3, label="held out"
)
ax.axvline(search.best_params_["alpha"], color="#d55e00", linestyle=":", label="best")
ax.set(
    xscale="log",
    xlabel="alpha, strength of the L2 penalty",
    ylabel="accuracy",
    title="L2CNNClassifier on 600 digits, five folds",
)
ax.grid(alpha=0.3)
ax.legend()
figure.savefig(options.output, dpi=150)
print(f"picture: {options.output}")

"""
Log a fit to MLflow, with the fitted pipeline
=============================================

Losses, parameters and the model lie in files of this folder: no server is needed.
"""

# %%
# A database of one file; the address of a server would do as well.
import mlflow
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from skorch.callbacks import MlflowLogger

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.persistence import TRUSTED, load, save
from sklearn_l2cnn.preprocessing import ContrastNormalizer

mlflow.set_tracking_uri("sqlite:///mlruns.db")
mlflow.set_experiment("digits")
digits = load_digits()
X, y = digits.images, digits.target

# %%
# Every epoch is logged by the callback. The model is written by skops, without pickle.
with mlflow.start_run():
    pipeline = make_pipeline(
        ContrastNormalizer(),
        L2CNNClassifier(
            callbacks=[MlflowLogger()],
            early_stopping=True,
            max_epochs=10,
            random_state=0,
        ),
    )
    pipeline.fit(X[:1000], y[:1000])
    mlflow.log_metric("accuracy", pipeline.score(X[1000:], y[1000:]))
    mlflow.log_param("alpha", pipeline[-1].alpha)
    # without callbacks, which hold the connection: a file has none
    pipeline.set_params(l2cnnclassifier__callbacks=None)
    save(pipeline, "digits.safetensors")
    model = mlflow.sklearn.log_model(
        load("digits.safetensors"),
        name="model",
        serialization_format="skops",
        skops_trusted_types=TRUSTED,
    )

loaded = mlflow.sklearn.load_model(model.model_uri)
assert (loaded.predict(X[1000:]) == pipeline.predict(X[1000:])).all()
accuracy = loaded.score(X[1000:], y[1000:])
print(f"accuracy {accuracy:.3f}, as read from {model.model_uri}")

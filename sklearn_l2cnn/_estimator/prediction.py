"""What a fitted classifier says of images: labels, probabilities, logits."""

from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._data.arrays import give_back, give_back_numbers, on_host
from sklearn_l2cnn._data.images import in_form
from sklearn_l2cnn._data.pixels import warn_about_units
from sklearn_l2cnn._data.validation import check_images
from sklearn_l2cnn._estimator.whole import LabelsAndProbabilities, whole_module
from sklearn_l2cnn._training.chunks import predict_logits
from sklearn_l2cnn._utils.onnx_graphs import GraphSource
from sklearn_l2cnn._utils.onnx_hooks import OnnxHooksMixin
from sklearn_l2cnn._utils.sklearn_compat import check_same_namespace
from sklearn_l2cnn._utils.surroundings import undisturbed
from sklearn_l2cnn.augmentation import views_for


class PredictionMixin(OnnxHooksMixin):
    """The methods and attributes of an estimator that has a ``net_``."""

    def predict(self, X):
        """Predict the label of every image.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        y : ndarray of shape (n,)
        """
        # by way of the host: not every device has the dtype of the labels
        best = self._of_logits(X, "predict", lambda logits: logits.argmax(dim=1))
        best = on_host(best)
        return give_back_numbers(self._summary_.classes[best], X)

    def predict_proba(self, X):
        """Predict the probability of every class.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            In the dtype that the network computes in, the columns as in `classes_`.
        """
        found = self._of_logits(X, "predict_proba", lambda logits: logits.softmax(1))
        return give_back(found, X)

    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of every class.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes)
        """
        method, function = "predict_log_proba", lambda logits: logits.log_softmax(1)
        return give_back(self._of_logits(X, method, function), X)

    def decision_function(self, X):
        """Return the logits of the network.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        scores : ndarray of shape (n,) or (n, n_classes)
            For two classes their difference: positive where the second is predicted.
        """
        return give_back(self._of_logits(X, "decision_function", _scores), X)

    def _of_logits(self, X, method, function):
        """Return what a function makes of the logits of images, some at a time."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="channel_mean_", method=method)
        with undisturbed():
            images = check_images(self, X, stored=True)
            found = predict_logits(self.net_, images, views_for(self.tta), function)
            # pixels that are no numbers once they are standardised have raised by now
            warn_about_units(images, self._summary_.unit)
            return found

    def _as_module(self, device="cpu"):
        """Return the whole classifier as one torch module."""
        return whole_module(self, device)

    def _graph_source(self):
        """Return what becomes an ONNX graph."""
        check_is_fitted(self)
        module = LabelsAndProbabilities(whole_module(self, plain=True)).eval()
        return GraphSource(module, ("label", "probabilities"), self._summary_.classes)

    def _as_X(self, images, ndim):
        """Return images in the form of an X with so many dimensions."""
        return in_form(images, ndim, self.channels)

    @property
    def module_(self):
        """The network, a torch.nn.Module."""
        return self.net_.module_

    @property
    def precision_(self):
        """What products are computed in: "float32", "float64" or "bfloat16"."""
        dtype = self.net_.lower or self.net_.dtype
        return str(dtype).removeprefix("torch.")

    @property
    def device_(self):
        """The device the network is on."""
        return str(self.net_.device)


def _scores(logits):
    """Return logits as scikit-learn has them: of one or two classes a single score."""
    n_classes = logits.shape[1]
    if n_classes > 2:
        return logits
    return logits[:, 1] - logits[:, 0] if n_classes == 2 else logits[:, 0]

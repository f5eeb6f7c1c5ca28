"""L2CNNClassifierCV: a classifier that finds its own alpha."""

import copy
import inspect

from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metadata_routing import UNUSED, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._estimator.fitting import end_fit
from sklearn_l2cnn._estimator.parameters import NOT_SEARCHED, SEARCH_CONSTRAINTS
from sklearn_l2cnn._estimator.prediction import PredictionMixin
from sklearn_l2cnn._search.scoring import routed_to
from sklearn_l2cnn._search.search import router, search
from sklearn_l2cnn._utils.estimators import (
    ParametersMixin,
    fitted_attributes,
)
from sklearn_l2cnn._utils.seeds import draw_seeds
from sklearn_l2cnn._utils.sklearn_compat import CallbackSupportMixin, fit_context


def _refits(clf):
    if clf.refit:
        return True
    raise AttributeError(
        f"This {type(clf).__name__} has refit=False: it searches, and holds no network "
        "to predict with. Set refit=True, or fit an L2CNNClassifier with the "
        "`best_params_`."
    )


class L2CNNClassifierCV(
    ParametersMixin,
    PredictionMixin,
    CallbackSupportMixin,
    ClassifierMixin,
    BaseEstimator,
):
    r"""Convolutional image classifier whose `alpha` is chosen by cross-validation.

    A network is trained for every alpha on every fold, all of them together, and one
    with the best alpha on all images: that is what predicts. With an int as
    `random_state` these are, up to rounding, the networks of
    ``GridSearchCV(L2CNNClassifier(...), {"alpha": alphas}, cv=cv)``.

    Parameters
    ----------
    alphas : int or array-like of shape (n_alphas,), default=10
        The strengths to try, of :class:`L2CNNClassifier`: numbers, or mappings from
        layers to numbers. An int is a number of them on a logarithmic grid from
        :math:`10^{-4}\, a` to :math:`a = H / \Omega_0`, where :math:`H` is the entropy
        of the class frequencies, the data loss of the best constant prediction, and
        :math:`\Omega_0` the penalty at a strength of 1 of the initial network: at
        :math:`a` it is as large as all that the data loss can fall. Each is
        rounded to three digits.

    cv : int, cross-validation generator or iterable, default=None
        The folds: None is 5, an int their number, stratified and in the order of the
        rows; a splitter; or pairs of the positions of training and test rows.

    scoring : str, callable, list, tuple or dict, default=None
        What is scored, as :class:`~sklearn.model_selection.GridSearchCV` has it: a name
        or a callable ``(estimator, X, y)``, several of them as a list of names or a
        dict, or a callable that returns a dict. None is the accuracy.

    refit : bool, str or callable, default=True
        Whether a network is fitted to all images with the best alpha. A str names the
        metric that decides, of several; a callable is given `cv_results_` and returns
        `best_index_`, and there is no `best_score_` then.

    one_standard_error : bool, default=False
        Whether the best alpha is the largest whose mean score is at most one standard
        error below the highest mean: the standard deviation of the highest over the
        folds, divided by the root of their number.

    path : {"independent", "warm"}, default="independent"
        ``"warm"`` goes from the largest alpha to the smallest and starts each network
        from the weights of the last one, for `max_epochs` again; the refit does the
        same down to the best. ``"independent"`` starts each from new weights.

    n_jobs : int, default=None
        Processes for networks that are trained one by one: see the notes. None is 1, -1
        all processors. Those that are trained together take torch's threads.

    penalty : str, object or None, default="l2"
        The penalty that is added to the loss for every weight, times `alpha`, a name of
        :func:`sklearn_l2cnn.penalties.list_penalties`:

        - ``"l2"``: :math:`\frac{1}{2} \|W\|^2`;
        - ``"l1"``: :math:`\|W\|_1`, the sum of the absolute values;
        - ``"elasticnet"``: a mixture of both, by `l1_ratio`;
        - ``"group"``: :math:`\sum_k \sqrt{d}\,\|W_k\|`, over the filters or units k of
          d weights each;
        - ``"l2-sp"``: :math:`\frac{1}{2} \|W - W_0\|^2`, L2 towards the weights that
          training starts from, where these were loaded by `pretrained`, are those of a
          module, or of a fit that this one goes on from; plain L2 for new layers;

        or an object with the few methods that :mod:`sklearn_l2cnn.penalties` describes.
        The absolute values of ``"l1"`` and the norms of ``"group"`` act by their
        proximal step after every update, in the metric of the optimizer: weights become
        exactly zero, and with ``"group"`` whole filters do.

    l1_ratio : float, default=0.5
        Share of L1 in ``penalty="elasticnet"``, from 0 (L2) to 1 (L1).

    penalize : {"weights", "all"} or callable, default="weights"
        Which parameters are penalised: those with two or more dimensions, all, or those
        for which ``penalize(name, parameter)`` is true.

    activity_alpha : float or mapping, default=0.0
        Strength of a penalty on the activity of hidden layers: every image adds
        ``activity_alpha * ||u||^2`` to its loss, where u is the output of a layer. A
        number is for the last hidden layer, whose output goes to the logits; a mapping
        ``{pattern: float}`` names the layers and gives each a strength, such as
        ``{"relu*": 1e-4}`` for all activations of a named network.

    max_norm : float, default=None
        Largest norm of a filter or unit: after each step every row of every weight is
        projected onto :math:`\|w\|_2 \le` `max_norm`, whether it is penalised or not.

    dropout : float, default=None
        Rate of the dropout layers of the network; a named network without any gets one
        in front of its last layer. None leaves the network as it is.

    architecture : str, torch.nn.Module or callable, default="plain"
        The network.

        - ``"plain"``: convolutions 3 x 3 with pooling and one hidden layer, for images
          of any size;
        - ``"two_conv"``, ``"conv_pool"``, ``"four_conv"``, ``"conv_dropout"``: small
          networks of the literature on L2;
        - ``"resnet18"``, ``"vgg11"`` and all other classifiers of torchvision, with a
          head for the classes at hand; ``"unet"``:
          :func:`sklearn_l2cnn.architectures.list_architectures` lists all;
        - ``"timm:NAME"``: a network of timm, which is an extra;
          ``list_architectures("timm:*resnet*")`` lists those that a pattern means;
        - ``callable(input_shape, n_classes)``: returns the module, given
          ``(channels, height, width)`` and the number of classes; a module class with
          these two arguments is one, ``functools.partial(make_network, width=8)`` one
          with more of them;
        - a module: it is copied, never changed, and its weights are the start.

        A module takes float images ``(n, channels, height, width)`` and returns logits
        ``(n, n_classes)``, two for two classes. It computes in the dtype of its
        parameters.

    pretrained : bool, str or path, default=False
        Weights to start from. True: those that torchvision or timm publishes for the
        network, downloaded by them; the first layers then stay as they were published,
        and take other channels than three from what they know of three. A path: a state
        dict of torch, or a file ``*.safetensors``, of the network as it is here or as
        they have it. The last layer is new where the classes are others.

    freeze : str or list of str, default=None
        Patterns of the names of layers, or of parts made of layers, that are not
        trained; their norms and dropout work as in prediction.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. None
        takes a row of k * k values as a grey image of k x k pixels and any other row as
        a strip one pixel high. Signals of k * k values are ``image_shape=(1, k * k)``;
        with several channels, ``(n, length, channels)``, they are ``X[:, None]``.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the images that
        rows are flattened from.

    standardize : bool, default=True
        Whether each channel is standardised by its mean and standard deviation over the
        weighted training set, so that pixels of 0 to 255 and of 0 to 1 train alike. For
        published weights of `pretrained` it is by those that they were trained with,
        unless pixels are counted otherwise, with a warning.

    optimizer : {"adam", "adamw", "sgd", "sgdw"} or callable, default="adam"
        ``"adam"`` and ``"sgd"`` are torch's, with their defaults. With ``"adamw"`` and
        ``"sgdw"`` the penalty is decoupled from the loss (Loshchilov and Hutter, 2019):
        with L2 every step takes ``lr * alpha * W`` off the weights. With plain SGD that
        is the same thing. With Adam it is not: in the loss, the penalty's gradient is
        divided by the root mean square of the whole gradient, so that weights with
        large gradients hardly decay; decoupled, all decay alike, but the result is not
        the minimum of a loss with a penalty, and depends on `lr`. A decoupled penalty
        is not part of the recorded losses.

        A callable is a :class:`torch.optim.Optimizer` class, or a
        :func:`functools.partial` of one with its arguments, such as
        ``partial(torch.optim.Adam, betas=(0.9, 0.99))``; the learning rate is `lr`. Of
        these, the proximal steps of `penalty` know the metric of Adam and AdamW and the
        momentum of SGD; for any other they assume its learning rate alone.

    lr : float or mapping, default=1e-3
        Learning rate. A mapping ``{pattern: float}`` gives layers rates of their own,
        by name as `alpha` does, such as ``{"fc*": 1e-2, "*": 1e-4}``; every layer needs
        one. A schedule lowers all of them alike.

    momentum : float, default=0.9
        Momentum of ``"sgd"`` and ``"sgdw"``, and of an optimizer class that takes one.

    lr_schedule : {"auto", "cosine", "onecycle", "plateau"} or None, default="auto"
        ``"cosine"`` lowers the learning rate from `lr` in the first epoch to nearly
        nothing in the last of `max_epochs`; ``"onecycle"`` raises it to `lr` over the
        first fifth of all steps and then lowers it to nothing, which suits few epochs
        at a high rate; ``"plateau"`` divides it by ten after more than three epochs
        without a lower loss, of the validation images where there are some, else of
        the training; None keeps it. ``"auto"`` is ``"cosine"`` with Adam, unless
        `callbacks` have a scheduler of their own, and None with any other optimizer.

    batch_size : int or "auto", default="auto"
        Images in a step. ``"auto"`` is the power of two below n / 400 for n distinct
        images, but at least 32 and at most 256.

    accumulate : int, default=1
        Batches whose gradients are added up for a step, which is then one for
        ``accumulate * batch_size`` images in the memory of `batch_size`. Norms over the
        batch see `batch_size` images; of other networks the step is that of a larger
        batch, on a CPU bit for bit.

    average : float, "swa" or None, default=None
        Which average of the weights is validated after an epoch, predicts and is what
        stays, while training goes on with the weights themselves. A decay d below 1:
        after step t the average moves by the part ``max(1 - d, 1 / t)`` towards the
        weights, so that it is exponential once there are more than 1 / (1 - d) steps;
        1 is the mean of all steps. ``"swa"`` is the mean over the ends of the epochs in
        the last quarter of `max_epochs`, for a learning rate that stays high. What
        batch norms have counted is averaged alike.

    max_epochs : int or "auto", default="auto"
        Passes over the training set. ``"auto"`` is 20, or as many as 250 steps take
        where that is more: on fewer than about 400 images.

    label_smoothing : float, default=0.0
        What part of every label is spread evenly over all classes, in the loss.

    gradient_clip : float, default=None
        Largest norm of the gradient of all parameters together; a longer one is scaled
        down, the penalty's part included.

    early_stopping : bool, default=False
        Whether to end training when the accuracy on validation images stops improving,
        and to return to the weights of the best epoch. The images are a part of the
        training rows of every fold, and of all images in the refit, that is held out.
        They weigh as in training: sample weight times class weight.

    validation_fraction : float, default=0.1
        Part of every class that is held out; used with `early_stopping` alone.

    n_iter_no_change : int or "auto", default="auto"
        Epochs in a row without an improvement by `tol` that end training; used with
        `early_stopping` alone. ``"auto"`` is 10, or as many as 30 steps take on few
        images. With ``np.inf``, or as many as `max_epochs`, none end it: the best of
        all epochs is kept.

    tol : float, default=1e-4
        What counts as an improvement of the accuracy; used with `early_stopping` alone.

    class_weight : dict or "balanced", default=None
        Factors ``{label: weight}`` on the sample weights. ``"balanced"`` gives every
        class the same total.

    augment : str, Augmentation, callable or list of such, default=None
        How images are varied at random while the network is trained, and not when it
        predicts: any of ``"flip"``, ``"shift"``, ``"crop"``, ``"rotate"``, ``"scale"``,
        ``"cutout"``, ``"brightness"``, ``"contrast"``, ``"mixup"``; an
        :class:`~sklearn_l2cnn.augmentation.Augmentation` with strengths of their own,
        which a search can set; transforms of torchvision and other callables, which get
        a batch of float images ``(n, channels, height, width)``, uint8 as [0, 1], and
        go first (those of torchvision that change colours take floats to be in [0, 1]).
        What is random comes from `random_state`.

    tta : {"flip", "shift"} or list of such, default=None
        Test-time augmentation: probabilities are averaged over every image and its
        mirror image, or over every image and what it is after a step of one pixel in
        each of four directions, or over all combinations.

    device : str or torch.device, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, ``"xpu"``, ...; ``"auto"`` is
        CUDA where there is one, else the accelerator that torch names, if it computes
        as a CPU does, else the CPU. Without an index, the device on which the fewest
        fits of this machine run. Where others have the memory that a fit needs, it
        waits for them. Of accelerators other than CUDA, none has been met yet. CUDA
        multiplies in its own precision and adds in its own order: in the tests
        probabilities of one network are within 0.002 of the CPU's, and those of a fit
        of two epochs within 0.01.

    precision : {"float32", "bfloat16", "auto"}, default="float32"
        What convolutions and matrix products are computed in. ``"bfloat16"`` rounds
        their factors to 8 bits, while parameters, sums and the loss stay as they are;
        ``"auto"`` does so where the device has instructions for it, and is
        ``"float32"`` elsewhere; there ``"bfloat16"`` is emulated, several times slower
        than float32, with an EfficiencyWarning. A network of float64 computes in
        float64 either way.

    threads : int, default=None
        How many threads work on a CPU; None is torch's number, which in a worker of
        joblib is its share of the cores. Where a network treats images one by one, as
        most without a batch norm do, the numbers do not depend on it. Other networks
        learn the same up to rounding; with ``threads=1`` to the last bit.

    cuda_graph : bool, default=True
        Whether training steps on CUDA are recorded once and replayed, so that a step
        is launched at once. A replay does nothing on the host. What a callback changes
        between epochs is followed: the optimizer's settings, frozen or replaced
        parameters, attributes of the network and of the penalty. Where a step itself
        changes them, or draws random numbers of Python, NumPy or torch's CPU, nothing
        is recorded. What else ``forward`` looks at, such as a clock or a file, is not
        noticed; False takes every step then.

    checkpoint : str or path, default=None
        A folder for the state of the training, which is written after every epoch while
        the next one goes on. The same fit, of the same parameters and data, started
        again after whatever ended it, goes on after the last epoch that was written,
        and ends where it would have ended: bit for bit on a CPU, with all that
        callbacks remember as far as it can be pickled. A fit that has ended is loaded;
        so is every fit of a search. Names of files follow from parameters and images: a
        folder may serve many fits, and may be removed at any time. `random_state` has
        to be set. What others can write to must not be such a folder, as callbacks are
        unpickled from it.

    checkpoint_keep : bool, default=False
        Whether the states after all epochs are kept, rather than the last one's alone.

    callbacks : list, default=None
        Callbacks of skorch: instances, classes, functions without arguments that
        return one, or pairs ``(name, callback)``. Every network has copies; those of
        the refit are in ``best_estimator_.callbacks``. A class or a function is called
        in every fit: it makes what cannot be copied, such as an open file.
        ``set_params(callbacks__name__patience=3)`` sets a parameter of a callback that
        has a name, ``callbacks__name=None`` leaves it out. Callbacks of scikit-learn
        are given to :meth:`set_callbacks` instead: see the notes.

    verbose : int, default=0
        1 prints what is trained, and a line for every epoch: losses, scores of
        validation data, and about how long all of it still takes.

    random_state : int, RandomState instance or None, default=None
        Determines the initial weights, the order of the images, the held-out part and
        what a network draws while training, the same for all networks: they differ in
        alpha and fold alone. An int makes every fit the same, bit for bit on a CPU.
        None takes fresh entropy from the operating system: unlike elsewhere in
        scikit-learn, numpy's global generator is neither read nor moved.

    Attributes
    ----------
    alpha_ : float or mapping
        The best alpha.

    alphas_ : ndarray of shape (n_alphas,)
        All that were tried, as they were given; a grid is ascending.

    best_index_ : int
        Where in `alphas_` the best is.

    best_params_ : dict
        ``{"alpha": alpha_}``.

    best_score_ : float
        Mean score of the best alpha over the folds.

    cv_results_ : dict of ndarray
        Scores, ranks and times with the keys of
        :class:`~sklearn.model_selection.GridSearchCV`. A training that failed has score
        nan; a fit time is that of the epochs, its share where all train together.

    scores_path_ : ndarray of shape (n_alphas, n_splits, n_epochs)
        Weighted accuracy after every epoch on the validation data: the test rows of the
        fold or, with `early_stopping`, the part that it held out. nan after a training
        that ended early, and where there are no validation data, because they would
        have a say in the training: with ``lr_schedule="plateau"`` and with `callbacks`.

    losses_path_ : ndarray of shape (n_alphas, n_splits, n_epochs)
        Data loss of the training in every epoch.

    validation_losses_path_ : ndarray of shape (n_alphas, n_splits, n_epochs)
        Weighted cross-entropy on the validation data.

    norms_path_ : ndarray of shape (n_alphas, n_layers)
        Frobenius norm of the weights of every layer, of two or more dimensions, in the
        mean over the folds.

    layer_names_ : list of str
        Names of these layers.

    n_splits_ : int
        Number of folds.

    scorer_ : callable or dict of callables
        What scored.

    multimetric_ : bool
        Whether there are several metrics.

    refit_time_ : float
        Seconds that the refit took.

    best_estimator_ : L2CNNClassifier
        The classifier with the best alpha, fitted to all images.

    classes_, feature_names_in_, channel_mean_, channel_scale_ : ndarray
        These and all below are those of `best_estimator_`, which says what they are.

    n_features_in_, n_epochs_, best_epoch_ : int
        `best_epoch_`, and what is validated, is None without `early_stopping`.

    image_shape_, device_, precision_ : tuple of int and str
        What an image is, and where and in what the network computes.

    net_, module_ : skorch.NeuralNetClassifier and torch.nn.Module
        The network that predicts.

    timescale_ : float, dict of float or None
        Over how many epochs weights forget, with a decoupled L2.

    loss_curve_, data_loss_curve_, penalty_curve_ : list of float
        How the refit went.

    validation_scores_, validation_loss_curve_ : list of float or None
        The same of its validation images.

    best_validation_score_ : float or None
        The largest of `validation_scores_`.

    See Also
    --------
    L2CNNClassifier : The classifier with one alpha.
    sklearn.linear_model.LogisticRegressionCV : The same for linear models.

    Notes
    -----
    By default 51 networks are trained: 10 alphas on 5 folds, and the best on all
    images. ``verbose=1`` tells how long they still take; fewer alphas, ``cv=3`` or a
    lower `max_epochs` make it sooner.

    Networks that are sequences of torch's own layers are stacked and trained as one:
    the result is that of training them one by one, up to rounding and to the masks of
    dropout, for which each network has a stream of random numbers of its own. Other
    networks are trained one by one; the logger ``"sklearn_l2cnn"`` says why, at level
    INFO.

    To callbacks of scikit-learn 1.9 a search is a task ``"search"`` with an
    ``"epoch"`` for each epoch of each network, however they are trained: that of number
    ``(k * n_splits + fold) * max_epochs + epoch`` is of alpha k. The refit follows as
    ``"refit-with-best-params"``, with the epochs of its network. A callback that asks
    to stop at the end of an epoch ends the training of that network.

    Without `refit` there are no methods that predict, and none of the attributes of
    `best_estimator_`. A search begins with new networks: there is no `warm_start`, and
    no ``partial_fit``. Folds are made of rows: that an image of weight k is the same as
    k repeats holds where these are in one fold.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifierCV
    >>> digits = load_digits()
    >>> X, y = digits.images[:200], digits.target[:200]
    >>> clf = L2CNNClassifierCV(
    ...     alphas=[1e-3, 1e2], cv=2, max_epochs=3, random_state=0).fit(X, y)
    >>> clf.alpha_
    0.001
    >>> clf.cv_results_["mean_test_score"].shape
    (2,)
    """

    _parameter_constraints: dict = SEARCH_CONSTRAINTS

    # a splitter's, never the search's own
    __metadata_request__fit = {"groups": UNUSED}

    def __init__(
        self,
        alphas=10,
        *,
        cv=None,
        scoring=None,
        refit=True,
        one_standard_error=False,
        path="independent",
        n_jobs=None,
        penalty="l2",
        l1_ratio=0.5,
        penalize="weights",
        activity_alpha=0.0,
        max_norm=None,
        dropout=None,
        architecture="plain",
        pretrained=False,
        freeze=None,
        image_shape=None,
        channels="last",
        standardize=True,
        optimizer="adam",
        lr=1e-3,
        momentum=0.9,
        lr_schedule="auto",
        batch_size="auto",
        accumulate=1,
        average=None,
        max_epochs="auto",
        label_smoothing=0.0,
        gradient_clip=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change="auto",
        tol=1e-4,
        class_weight=None,
        augment=None,
        tta=None,
        device="auto",
        precision="float32",
        threads=None,
        cuda_graph=True,
        checkpoint=None,
        checkpoint_keep=False,
        callbacks=None,
        verbose=0,
        random_state=None,
    ):
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.one_standard_error = one_standard_error
        self.path = path
        self.n_jobs = n_jobs
        self.penalty = penalty
        self.l1_ratio = l1_ratio
        self.penalize = penalize
        self.activity_alpha = activity_alpha
        self.max_norm = max_norm
        self.dropout = dropout
        self.architecture = architecture
        self.pretrained = pretrained
        self.freeze = freeze
        self.image_shape = image_shape
        self.channels = channels
        self.standardize = standardize
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.lr_schedule = lr_schedule
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.average = average
        self.max_epochs = max_epochs
        self.label_smoothing = label_smoothing
        self.gradient_clip = gradient_clip
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.class_weight = class_weight
        self.augment = augment
        self.tta = tta
        self.device = device
        self.precision = precision
        self.threads = threads
        self.cuda_graph = cuda_graph
        self.checkpoint = checkpoint
        self.checkpoint_keep = checkpoint_keep
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, groups=None, **params):
        """Search for the best alpha, and fit a network with it to all images.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are images flattened.
        y : array-like of shape (n,)
            Labels of any type.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images, in training and, where the scorers take them, in the
            scores; None is 1 for each.
        groups : array-like of shape (n,), default=None
            Groups of the images, for a splitter such as
            :class:`~sklearn.model_selection.GroupKFold`.
        **params : dict
            Other metadata for the splitter and the scorers, with
            ``enable_metadata_routing=True``.

        Returns
        -------
        self : object
        """
        _refuse_validation(self, params)
        _refuse_without_routing(self, "fit", params)
        found = search(self, self._template(), X, y, sample_weight, groups, params)
        for name in fitted_attributes(self):
            delattr(self, name)
        return end_fit(self, found)

    predict = available_if(_refits)(PredictionMixin.predict)
    predict_proba = available_if(_refits)(PredictionMixin.predict_proba)
    predict_log_proba = available_if(_refits)(PredictionMixin.predict_log_proba)
    decision_function = available_if(_refits)(PredictionMixin.decision_function)

    @available_if(_refits)
    def score(self, X, y, sample_weight=None, **params):
        """Score the refitted network on images, by the metric that chose it.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.
        y : array-like of shape (n,)
            Labels.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images.
        **params : dict
            Other metadata for the scorer, with ``enable_metadata_routing=True``.

        Returns
        -------
        score : float
            Accuracy, unless `scoring` says otherwise.
        """
        check_is_fitted(self)
        _refuse_without_routing(self, "score", params)
        given = dict(params)
        if sample_weight is not None:
            given["sample_weight"] = sample_weight
        scorers = self.scorer_
        if get_config()["enable_metadata_routing"]:
            given = process_routing(self, "score", **given).scorer["score"]
            given = routed_to(scorers, given)
        elif isinstance(scorers, dict):
            given = dict.fromkeys(scorers, given)
        if not self.multimetric_:
            return scorers(self.best_estimator_, X, y, **given)
        metric = _deciding_metric(self)
        if isinstance(scorers, dict):
            return scorers[metric](self.best_estimator_, X, y, **given[metric])
        return scorers(self.best_estimator_, X, y, **given)[metric]

    def get_metadata_routing(self):
        """Say which metadata is wanted, by the search, its splitter and its scorers.

        Returns
        -------
        routing : MetadataRouter
        """
        template = self._template()
        # scoring=None asks for what this class asks for, and errors are to name it
        template._metadata_request = self._get_metadata_request()
        return router(self, template)

    def _template(self):
        """Return the classifier, unfitted, that those of the search are like.

        ``random_state=None`` is one seed for all: they differ in alpha and fold alone.
        """
        names = [*inspect.signature(L2CNNClassifier).parameters]
        shared = {n: getattr(self, n) for n in names if n not in NOT_SEARCHED}
        if self.random_state is None:
            [shared["random_state"]] = draw_seeds(None, 1)
        template = L2CNNClassifier(**shared)
        if hasattr(self, "_metadata_request"):
            # what its score asks for is what scoring=None asks for
            template._metadata_request = copy.deepcopy(self._metadata_request)
        return template

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.array_api_support = True
        return tags


def _refuse_validation(clf, params):
    given = [name for name in params if name in ("X_val", "y_val", "sample_weight_val")]
    if given:
        raise TypeError(
            f"{type(clf).__name__}.fit() takes no {', '.join(given)}: alphas are "
            "scored on the folds of cv. One fold of your own is cv=[(train, test)] "
            "with positions of rows; early_stopping=True holds out images of each fold."
        )


def _refuse_without_routing(clf, method, params):
    if params and not get_config()["enable_metadata_routing"]:
        raise ValueError(
            f"{type(clf).__name__}.{method} was given {sorted(params)}: other metadata "
            "than sample_weight and groups needs "
            "sklearn.set_config(enable_metadata_routing=True)."
        )


def _deciding_metric(clf):
    if isinstance(clf.refit, str):
        return clf.refit
    raise ValueError(
        f"There are several metrics, and refit={clf.refit!r} names none of them: score "
        "does not know which is meant. Call one of `scorer_` with `best_estimator_`."
    )

"""L2CNNClassifier: parameters in, fitted attributes out."""

from sklearn.base import BaseEstimator, ClassifierMixin

from sklearn_l2cnn._estimator.fitting import (
    end_fit,
    fit,
    partial_fit,
    refuse_unknown,
)
from sklearn_l2cnn._estimator.parameters import CONSTRAINTS
from sklearn_l2cnn._estimator.prediction import PredictionMixin
from sklearn_l2cnn._utils.estimators import ParametersMixin
from sklearn_l2cnn._utils.sklearn_compat import CallbackSupportMixin, fit_context


class L2CNNClassifier(
    ParametersMixin,
    PredictionMixin,
    CallbackSupportMixin,
    ClassifierMixin,
    BaseEstimator,
):
    r"""Convolutional image classifier with an L2 penalty in the loss.

    A convolutional network is fitted to images by minimising

    .. math::

        J(\theta) = \frac{\sum_i s_i \ell_i(\theta)}{\sum_i s_i}
        + \frac{\alpha}{2} \sum_W \|W\|^2,

    where :math:`\ell_i` is the cross-entropy of image :math:`i`, :math:`s_i` its sample
    weight times the weight of its class, and the second sum goes over all weights
    :math:`W` of the network, the parameters with two or more dimensions. Biases and
    the scales of normalisations are not penalised.

    Parameters
    ----------
    alpha : float or mapping, default=1e-4
        Strength of the penalty; must be non-negative. With L2 its gradient is exactly
        ``alpha * W``, whatever the batch size and the scale of the weights. A mapping
        ``{pattern: float}`` gives layers strengths of their own, by name: the first
        pattern of :mod:`fnmatch` that means a layer, or a part of the network that it
        lies in, decides; layers that none means are not penalised.

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
        `callbacks` have a scheduler of their own, and None with any other optimizer. In
        :meth:`partial_fit` the rate is constant.

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
        and to return to the weights of the best epoch. The images are `X_val` of
        :meth:`fit` or, without it, a part of the training set that is held out. They
        weigh as in training: sample weight times class weight.

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
        class the same total; in :meth:`partial_fit`, over all images so far.

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

    warm_start : bool, default=False
        Whether :meth:`fit` starts from the weights of the last fit rather than from new
        ones. The optimizer starts afresh.

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
        return one, or pairs ``(name, callback)``. An instance is used as it is, and has
        what it recorded; a clone, as searches make them, has copies. A class or a
        function is called in every fit: it makes what cannot be copied, such as an open
        file.
        ``set_params(callbacks__name__patience=3)`` sets a parameter of a callback that
        has a name, ``callbacks__name=None`` leaves it out. Callbacks of scikit-learn
        are given to :meth:`set_callbacks` instead.

    verbose : int, default=0
        1 prints what is trained, and a line for every epoch: losses, scores of
        validation data, and about how long all of it still takes.

    random_state : int, RandomState instance or None, default=None
        Determines the initial weights, the order of the images, the held-out part and
        what the network draws while training. An int makes every fit the same, bit for
        bit on a CPU. None takes fresh entropy from the operating system: unlike
        elsewhere in scikit-learn, numpy's global generator is neither read nor moved.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels that have a positive weight.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    image_shape_ : tuple of int
        ``(height, width, channels)``.

    channel_mean_ : ndarray of shape (channels,)
        The mean over the weighted training set, or of published weights, uint8 counted
        as [0, 1], which is subtracted from the pixels. Zeros without `standardize`.

    channel_scale_ : ndarray of shape (channels,)
        The standard deviation, by which the pixels are divided; 1 for a constant
        channel. Ones without `standardize`.

    device_ : str
        The device that the network computes on. After :meth:`fit` on CUDA it waits on
        the CPU until it is used.

    precision_ : str
        What products are computed in: ``"float32"``, ``"float64"`` or ``"bfloat16"``.

    net_ : skorch.NeuralNetClassifier
        The net that was trained, with its ``history``. It predicts arrays and tensors
        ``(n, channels, height, width)``, classes as their positions in `classes_`, but
        is not fitted by itself.

    module_ : torch.nn.Module
        The network itself, ``net_.module_``.

    n_epochs_ : int
        Epochs trained, those of earlier calls included that `warm_start` or
        :meth:`partial_fit` went on from.

    timescale_ : float, dict of float or None
        With a decoupled L2, over how many epochs weights forget: they are averages of
        the updates over ``1 / (lr * alpha)`` steps (Wang and Aitchison, 2024). By the
        names of layers where they differ; None for any other penalty or optimizer.

    loss_curve_ : list of float of length `n_epochs_`
        The objective in every epoch: the sum of the next two.

    data_loss_curve_ : list of float
        Weighted cross-entropy, averaged over the steps of the epoch.

    penalty_curve_ : list of float
        Penalty of the network as it was at the end of the epoch.

    validation_scores_ : list of float or None
        Weighted accuracy on the validation images after every epoch of the last fit;
        None if there were none.

    validation_loss_curve_ : list of float or None
        Weighted cross-entropy on the validation images, as `validation_scores_`.

    best_validation_score_ : float or None
        The largest of them.

    best_epoch_ : int or None
        The epoch that reached it, counted from 1 within the last fit: of several the
        one with the lowest validation loss. With `early_stopping` its weights are the
        ones that stay.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Dense networks in scikit-learn itself.
    skorch.NeuralNetClassifier : Any torch module as an estimator.

    Notes
    -----
    The training set is a weighted set of images. An image of weight 0 is as if it were
    not there, weight k is the same as k repeats, a constant factor on all weights and
    the order of the rows have no effect: not approximately, but bit for bit.

    The `alpha` that makes the same objective: of ``SGDClassifier`` and of torch's
    `weight_decay` on the weights, `alpha` itself; of ``LogisticRegression(C=C)`` on n
    samples, ``1 / (n * C)``; of ``MLPClassifier(alpha=a)``, ``a / batch_size``; of
    Keras' ``regularizers.l2(l)``, ``2 * l``. Under Adam the gradient of the penalty is
    rescaled for every weight like the rest of the gradient, so that `alpha` does not
    act as a decay of equal strength on all.

    With ``sklearn.config_context(array_api_dispatch=True)`` torch tensors, and arrays
    of other array API libraries, are taken where they lie, images are never copied
    whole to numpy, and results are of their kind and on their device.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> digits = load_digits()
    >>> X, X_test, y, y_test = train_test_split(
    ...     digits.images, digits.target, random_state=0)
    >>> clf = L2CNNClassifier(max_epochs=3, random_state=0).fit(X, y)
    >>> clf.image_shape_
    (8, 8, 1)
    >>> clf.score(X_test, y_test) > 0.9
    True
    """

    _parameter_constraints: dict = CONSTRAINTS

    def __init__(
        self,
        alpha=1e-4,
        *,
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
        warm_start=False,
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
        self.alpha = alpha
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
        self.warm_start = warm_start
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
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        **unknown,
    ):
        """Fit the network to images and their labels.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are images flattened.
        y : array-like of shape (n,)
            Labels of any type.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images; None is 1 for each.
        X_val, y_val, sample_weight_val : array-like, default=None
            Validation data, instead of a held-out part of X: with
            `early_stopping` they end it, without they are only scored.
        **unknown : dict
            Nothing: other names raise a TypeError that says what is there.

        Returns
        -------
        self : L2CNNClassifier
        """
        refuse_unknown(self, unknown)
        validation = X_val, y_val, sample_weight_val
        return end_fit(self, fit(self, X, y, sample_weight, validation))

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Go over some images once, going on from where the last call ended.

        The statistics that pixels are standardised with, and the totals of a balanced
        `class_weight`, are those of all images so far. `early_stopping`,
        `max_epochs` and `average` play no part.

        Parameters
        ----------
        X : array-like
            Images or rows, as for :meth:`fit`.
        y : array-like of shape (n,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images.

        Returns
        -------
        self : L2CNNClassifier
        """
        return end_fit(self, partial_fit(self, X, y, classes, sample_weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.array_api_support = True
        return tags

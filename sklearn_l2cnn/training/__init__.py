"""From weighted images to a trained network."""

from sklearn_l2cnn.training._batches import (
    chunk_threads,
    over_chunks,
    predict_logits,
    resident,
)
from sklearn_l2cnn.training._callbacks import (
    BestWeights,
    CallbackSupportMixin,
    CosineRate,
    EpochTasks,
    OneCycleRate,
    PlateauRate,
)
from sklearn_l2cnn.training._canonical import canonical_set, normalized_weights
from sklearn_l2cnn.training._device import resolve_device
from sklearn_l2cnn.training._fleet import Member, why_no_fleet
from sklearn_l2cnn.training._fleet_batches import Fold
from sklearn_l2cnn.training._forward import pixel_map
from sklearn_l2cnn.training._frozen import freeze, frozen_anew
from sklearn_l2cnn.training._isolation import draw_seeds, isolated
from sklearn_l2cnn.training._layers import ELEMENTWISE, has_hooks, leaves
from sklearn_l2cnn.training._net import Diverged, Net
from sklearn_l2cnn.training._objective import Objective
from sklearn_l2cnn.training._precision import (
    autocast,
    computes_bfloat16,
    lowered_dtype,
)
from sklearn_l2cnn.training._waves import Lot, train_together
from sklearn_l2cnn.training._weights import auto_batch_size, class_factors, held_out

__all__ = [
    "ELEMENTWISE",
    "BestWeights",
    "CallbackSupportMixin",
    "CosineRate",
    "Diverged",
    "EpochTasks",
    "Fold",
    "Lot",
    "Member",
    "Net",
    "Objective",
    "OneCycleRate",
    "PlateauRate",
    "auto_batch_size",
    "autocast",
    "canonical_set",
    "chunk_threads",
    "class_factors",
    "computes_bfloat16",
    "draw_seeds",
    "freeze",
    "frozen_anew",
    "has_hooks",
    "held_out",
    "isolated",
    "leaves",
    "lowered_dtype",
    "normalized_weights",
    "over_chunks",
    "pixel_map",
    "predict_logits",
    "resident",
    "resolve_device",
    "train_together",
    "why_no_fleet",
]

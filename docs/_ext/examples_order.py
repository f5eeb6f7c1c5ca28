"""The order of the examples in the gallery."""

from pathlib import Path

NAMES = [
    "plot_first_steps",
    "plot_alpha_path",
    "plot_image_folder",
    "plot_imbalanced_classes",
    "plot_medical_greys",
    "plot_strips",
    "plot_augmentation",
    "plot_transfer_learning",
    "tune_with_optuna",
    "plot_filters_and_saliency",
    "plot_random_forest",
    "plot_pruning",
    "larger_than_memory",
    "serve_onnx",
    "plot_five_systems",
]


def place_of(path):
    """Return the place of an example, given its file."""
    return NAMES.index(Path(path).stem)

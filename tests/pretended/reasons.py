"""Why some tests fail where ``device="auto"`` is a pretended device, and may.

Anything else that fails there is a defect, of the package or of the pretended device.
"""

_HOST = "it computes with the network, now on the device, and tensors of the CPU"
_SHARED = f"{_HOST}, unless it is the first to look at it"
_RATE = (
    "it asks for 1e-9, or for bits, where one training is recorded and the other is "
    "not: recorded steps read their rate as float32"
)
_THREADS = "it asks for shards or threads, which are of the CPU alone"
_PROCESS = "it computes in a process that knows of no pretended device"
_CHUNKS = (
    "it asks for chunks of one image, or that networks that look across images see an "
    "image alone; on a device chunks have sixteen images at least"
)
_COMPANY = (
    "the pretended device multiplies as torch does on a CPU, where bits may depend on "
    "company; kernels that prevent it are called on CPUs alone"
)
_CPU = "it reads what is said of the CPU"
_PICKLE = "a pickle shows which of two equal devices is the same object"

# Of numbers that may agree by chance, as some do on some processors, and of networks
# that may not be on the device yet.
BY_CHANCE = {_RATE, _THREADS, _CHUNKS, _COMPANY, _SHARED}

_SGD = "test_sgd_is_torchs_sgd_with_weight_decay_on_the_weights[False"

# By the beginnings of the names of tests.
REASONS = {
    "feature_extraction/test_features.py::test_features_do_not_depend": _COMPANY,
    "feature_extraction/test_features.py::test_names_are_layers_and_indices": _HOST,
    "feature_extraction/test_features.py::test_the_last_hidden_layer_times": _HOST,
    "feature_extraction/test_features.py::test_transform_does_not_change": _PICKLE,
    "feature_selection/test_filter_selector.py::test_check_estimator": _COMPANY,
    "feature_selection/test_pixel_selector.py::test_importances_are_those": _HOST,
    "feature_selection/test_pixel_selector.py::test_importances_do_not": _THREADS,
    "feature_selection/test_pixel_selector.py::test_importances_of_a_linear": _HOST,
    "feature_selection/test_pixel_selector.py::test_importances_sum_to": _HOST,
    "feature_selection/test_prune.py::test_any_sequence_loses_zero_filters": _HOST,
    "feature_selection/test_pruned_classifier.py::test_a_penalised_network": _HOST,
    "feature_selection/test_pruned_classifier.py::test_frozen_layers_stay": _HOST,
    "feature_selection/test_pruned_classifier.py::test_layers_by_name": _HOST,
    "inspection/test_image_displays.py::test_activations_are_the_outputs": _SHARED,
    "inspection/test_image_displays.py::test_grey_kernels_are_grey": _HOST,
    "inspection/test_inside.py::test_a_network_is_found_inside_of_wrappers": _HOST,
    "inspection/test_saliency.py::test_grad_cam_is_a_weighted_sum_of_maps": _HOST,
    "inspection/test_saliency.py::test_network_and_generators_are_not": _HOST,
    "inspection/test_saliency_captum.py::": _HOST,
    f"estimator/test_objective.py::{_SGD}": _HOST,
    "estimator/test_reproducible.py::test_another_process_gives_the_same": _PROCESS,
    "estimator/test_reproducible.py::test_any_n_jobs[early stopping-loky]": _PROCESS,
    "estimator/test_reproducible.py::test_any_n_jobs[norm and dropout-loky]": _PROCESS,
    "estimator/test_reproducible.py::test_any_n_jobs[plain-loky]": _PROCESS,
    "estimator/test_reproducible.py::test_the_number_of_threads_does_not": _THREADS,
    "feature_selection/test_pruned_classifier.py::test_partial_fit_and_warm": _HOST,
    "persistence/test_persistence.py::test_a_process_that_is_killed": _PROCESS,
    "search/test_candidates_and_paths.py::test_the_path_of_independent": _RATE,
    "search/test_candidates_and_paths.py::test_warm_path": _RATE,
    "test_augmentation.py::test_images_are_mirrored_in_every_other_epoch": _HOST,
    "test_augmentation.py::test_only_training_images_are_augmented": _HOST,
    "test_augmentation.py::test_partial_fit_augments": _HOST,
    "test_augmentation.py::test_same_seed_gives_the_same_bits_for_any": _THREADS,
    "test_classifier_cv.py::test_same_as_grid_search": _RATE,
    "test_classifier_cv.py::test_several_metrics": _RATE,
    "training/stacked/test_behaviour.py::test_a_budget_splits": _RATE,
    "training/stacked/test_behaviour.py::test_a_network_that_diverges": _RATE,
    "training/stacked/test_behaviour.py::test_an_alpha_that_fails": _RATE,
    "training/stacked/test_behaviour.py::test_the_size_of_stacks": _RATE,
    "training/stacked/test_behaviour.py::test_validation_chunks_of_any": _RATE,
    "training/stacked/test_behaviour.py::test_weights_that_are_all_zero": _RATE,
    "training/stacked/test_same_answer.py::": _RATE,
    "training/test_activity.py::test_the_number_of_threads_does_not": _THREADS,
    "training/test_analysis.py::test_torch_is_asked": _THREADS,
    "training/test_analysis.py::test_others_use_the_threads_of_torch": _THREADS,
    "training/test_callbacks.py::test_a_training_ends_with_the_best": _HOST,
    "training/test_callbacks.py::test_layers_that_are_trained_later": _HOST,
    "training/test_callbacks.py::test_one_cycle": _RATE,
    "training/test_callbacks.py::test_scores_of_skorch_do_not_change": _RATE,
    "training/test_chunks.py::test_a_norm_over_the_batch": _CHUNKS,
    "training/test_chunks.py::test_an_image_gets_the_same_bits": _CHUNKS,
    "training/test_chunks.py::test_attributes_that_change_are_followed": _HOST,
    "training/test_chunks.py::test_functions_of_the_network": _COMPANY,
    "training/test_divergence.py::test_a_class_may_be_ruled_out": _HOST,
    "training/test_chunks.py::test_one_image_is_a_chunk_of_one": _CHUNKS,
    "training/test_chunks.py::test_sizes_that_do_not_agree": _CHUNKS,
    "training/test_dropout.py::test_fits_agree_in_every_bit": _THREADS,
    "training/test_dropout.py::test_shards_of_a_batch_draw_apart": _THREADS,
    "training/test_precision.py::test_emulation_is_said": _CPU,
    "training/test_rowwise.py::test_predictions_do_not_depend": _COMPANY,
    "training/test_regularization.py::test_a_strength_for_each_layer": _RATE,
    "training/test_regularization.py::test_everything_together_learns": _HOST,
    "training/test_regularization.py::test_penalize_all_reaches": _RATE,
    "training/test_shards.py::test_fits_with_shards_agree": _THREADS,
}

"""One fit: parameters, data, network, training, prediction."""

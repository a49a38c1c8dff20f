"""Settings of networks that are small enough for tests."""

SMALL_SPIKING = {
    "num_excitatory": 24,
    "num_inhibitory": 6,
    "num_inputs": 20,
    "in_degree_excitatory": 6,
    "in_degree_inhibitory": 3,
    "in_degree_inputs": 8,
    "weights": {"EE": 0.3, "EI": 0.3, "XE": 1.0, "XI": 1.0},
    "max_weights": {"EE": 0.5, "XE": 2.0, "XI": 2.0},
    "input_rate": 20.0,
    "learning_rate": 0.02,
    "duration": 0.3,
    "judged": 0.2,
    "bin_length": 0.1,
}

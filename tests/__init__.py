"""The tests."""

MODELS = "EADBENCH_TEST_MODELS"
"""The environment variable with the folder of the models that sweeps share."""

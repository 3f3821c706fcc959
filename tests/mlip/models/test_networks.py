"""Networks and normalisation, each by itself."""

import jax.numpy as jnp
import numpy as np
import pytest

from ritz.mlip.models.abstract_model import FeatureStatistics, fit_normalisation
from ritz.mlip.models.atomic import ACTIVATIONS, checked_architecture, evaluate_network


def test_a_network_by_hand():
    layers = [
        {"weights": jnp.array([[1.0, -1.0], [0.5, 2.0]]), "bias": jnp.array([0.1, 0.2])},
        {"weights": jnp.array([[2.0], [3.0]]), "bias": jnp.array([-1.0])},
    ]
    found = evaluate_network(layers, ((2, "tanh"),), jnp.array([0.3, -0.4]))
    hidden = np.tanh([0.3 - 0.2 + 0.1, -0.3 - 0.8 + 0.2])
    assert found == pytest.approx(2 * hidden[0] + 3 * hidden[1] - 1)
    assert set(ACTIVATIONS) >= {"linear", "tanh", "sigmoid", "silu"}


@pytest.mark.parametrize(
    ("arch", "error", "message"),
    [
        ({"O": [(4, "tanh")]}, ValueError, "give one for each"),
        ({"O": [(4, "tan")], "Ti": []}, ValueError, "must be one of linear, tanh"),
        ({"O": [4], "Ti": []}, TypeError, "a layer is a pair"),
        ({"O": [(0, "tanh")], "Ti": []}, ValueError, "number of nodes of a layer of O"),
        ([4, 4], TypeError, "maps each species"),
    ],
)
def test_bad_architectures(arch, error, message):
    with pytest.raises(error, match=message):
        checked_architecture(arch, ["Ti", "O"])


def test_normalisation():
    features = np.random.default_rng(0).normal(size=(50, 3)) * [1, 2, 0] + 5
    statistics = FeatureStatistics(3)
    for part in np.split(features, [7, 30]):
        statistics.add(part)
    np.testing.assert_allclose(statistics.minimum, features.min(axis=0))
    found = fit_normalisation(statistics, np.array([-10.0, -30.0, -25.0]), np.array([1, 2, 2]))
    assert (found.e_scaling, found.e_shift) == (2 / 5, -12.5)
    scaled = found.features(features)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0])
    flat = fit_normalisation(statistics, np.array([-5.0]), np.array([1]))
    assert (flat.e_scaling, flat.e_shift) == (1, -5)
    copies = fit_normalisation(statistics, np.array([-0.3, -0.1, -0.2]), np.array([3, 1, 2]))
    assert copies.e_scaling == 1 and copies.e_shift == pytest.approx(-0.1)

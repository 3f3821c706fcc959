"""The quench of the benchmark: magnetisation and energy against exact evolution."""

import pytest

pytestmark = [pytest.mark.netket, pytest.mark.slow]


@pytest.mark.parametrize("n_samples", [None, 2000])
def test_a_quenched_chain_follows_the_exact_evolution(n_samples):
    from benchmarks.quench import FULL, SAMPLED, TARGET, quench

    options = FULL if n_samples is None else SAMPLED
    magnetisation, energy, n_steps, _ = quench(0.25, n_samples, **options)
    assert magnetisation < (1e-3 if n_samples is None else TARGET)
    assert energy < (1e-5 if n_samples is None else 2e-2)
    assert n_steps < 200

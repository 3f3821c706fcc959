"""Members of a committee on several devices."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import jax, numpy as np
from ritz.mlip import Adam, CommitteeConfig, CommitteePotential
from tests.mlip.systems import ARCH, config, dataset, descriptor, tio2

assert jax.local_device_count() == 2
def trained(**settings):
    made = CommitteePotential(ARCH, descriptor())
    return made, made.train(dataset=dataset(), config=config(iterations=3, **settings),
                            committee_config=CommitteeConfig(4))

data = config(iterations=2, checkpoint_dir=None)
driver = CommitteePotential(ARCH, descriptor()).driver(tio2(), data, CommitteeConfig(4))
assert driver.n_devices == 2
driver.run(2 * driver.n_batches, show_progress=False)
for leaf in jax.tree.leaves((driver.carry.params, driver.carry.optimizer_state)):
    own = {tuple(s.index[0].indices(4)[:2]) for s in leaf.addressable_shards}
    assert own == {(0, 2), (2, 4)}, own
saved = driver.snapshot()
driver.run(1, show_progress=False)
after = jax.tree.leaves(driver.carry.params)
driver.restore(jax.tree.map(lambda x: x, saved))
driver.run(1, show_progress=False)
for a, b in zip(after, jax.tree.leaves(driver.carry.params)):
    np.testing.assert_array_equal(a, b)

spread, one = trained()[0], trained(device="cpu")[0]
for a, b in zip(spread.members, one.members):
    for x, y in zip(jax.tree.leaves(a.parameters), jax.tree.leaves(b.parameters)):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)
streamed = trained(memory_limit=1e-5)[0]
for a, b in zip(spread.members, streamed.members):
    for x, y in zip(jax.tree.leaves(a.parameters), jax.tree.leaves(b.parameters)):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)
trained(checkpoint_dir="ck")
made = CommitteePotential(ARCH, descriptor())
made.train(dataset=dataset(), config=config(iterations=1, checkpoint_dir="ck"),
           committee_config=CommitteeConfig(4), resume_from="ck")
print("all is well")
"""


@pytest.mark.slow
def test_members_are_divided_among_devices(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.endswith("all is well\n"), done.stderr

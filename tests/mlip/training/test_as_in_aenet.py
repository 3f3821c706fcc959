"""What scripts written for aenet-python's trainer do, under the names without Torch."""

from pathlib import Path

import numpy as np
import pytest

from ritz.mlip import (
    Adam,
    ANNPotential,
    ChebyshevDescriptor,
    CommitteeConfig,
    CommitteePotential,
    Structure,
    TrainingConfig,
)


def molecules() -> list[Structure]:
    return [
        Structure(
            positions=np.array([[d, 0.0, 0.0], [0.9 + d, 0.0, 0.0], [0.0, 0.9 + d, 0.0]]),
            species=["H", "H", "H"], energy=5 * d,
        )
        for d in (0.0, 0.1)
    ]  # fmt: skip


def settings() -> TrainingConfig:
    return TrainingConfig(
        iterations=1, method=Adam(mu=0.001, batchsize=1), testpercent=50, split_seed=7,
        force_weight=0.0, atomic_energies={"H": 0.0}, normalize_features=False,
        normalize_energy=False, memory_mode="cpu", device="cpu", checkpoint_dir=None,
        checkpoint_interval=0, max_checkpoints=None, save_best=False, use_scheduler=False,
        cache_features=True, num_workers=4, prefetch_factor=4, persistent_workers=True,
        cache_neighbors=True, cache_feature_max_entries=1024, cache_warmup=True,
    )  # fmt: skip


@pytest.mark.slow
def test_the_shortest_examples():
    descriptor = ChebyshevDescriptor(
        species=["H"], rad_order=1, rad_cutoff=2.0, ang_order=0, ang_cutoff=2.0, min_cutoff=0.1,
        device="cpu", dtype=np.float64,
    )  # fmt: skip
    arch = {"H": [(4, "tanh")]}
    results = ANNPotential(arch, descriptor=descriptor).train(
        structures=molecules(), config=settings()
    )
    assert list(results.errors[["RMSE_train", "RMSE_test"]].tail(1).shape) == [1, 2]

    result = CommitteePotential(arch, descriptor=descriptor).train(
        structures=molecules(), config=settings(),
        committee_config=CommitteeConfig(
            num_members=2, base_seed=11, max_parallel=1, output_dir=Path("committee_run")
        ),
    )  # fmt: skip
    assert result.metadata_path == Path("committee_run/committee_metadata.json")
    assert [member.seed for member in result.members] == [11, 12]
    assert "Committee of 2 members" in str(result)
    assert len(result.trainouts[0].errors) == 1 and len(result.to_dataframe()) == 2
    assert {"mean", "std"} == set(result.stats["final_RMSE_train"])
    reloaded = CommitteePotential.from_directory(result.output_dir)
    predictions = reloaded.predict(molecules(), eval_forces=False)
    first = predictions[0]
    assert first.energy_std == pytest.approx(np.std(first.member_energies))
    assert predictions.member_outputs[0].total_energy[0] == first.member_energies[0]
    assert len(predictions.top_uncertain(n=10)) == len(predictions.to_dataframe()) == 2
    members = reloaded.to_aenet_ascii(
        Path("ascii_committee"), prefix="committee", structures=molecules()
    )
    assert members[0]["H"] == Path("ascii_committee/member_000/committee.H.nn.ascii")

"""What is read from disk and damaged fails with one line that names the file."""

import json

import numpy as np
import pytest

from ritz.mlip import (
    ANNPotential,
    CommitteePotential,
    HDF5StructureDataset,
    load_potential,
)
from ritz.mlip.potentials.files import NotFiniteError, dump_json
from ritz.mlip.training.losses import Loss, Residuals
from tests.mlip.systems import DATA, config, descriptor, potential, tio2


@pytest.fixture(scope="module")
def network():
    return ANNPotential.from_aenet_ascii([DATA / f"reference.{s}.nn.ascii" for s in ("Ti", "O")])


def damages(content: bytes):
    """Cut, emptied, with bytes that are others, and something else."""
    rng = np.random.default_rng(0)
    yield b""
    yield content[: len(content) // 2]
    yield content[:-3]
    yield b"something else entirely"
    for _ in range(12):
        changed = bytearray(content)
        begin = int(rng.integers(0, len(content) - 60))
        changed[begin : begin + 60] = rng.bytes(60)
        yield bytes(changed)


def check(path, read):
    """Damage is told with the name of the file in one line, or does not matter."""
    content = path.read_bytes()
    n_told = 0
    for damaged in damages(content):
        path.write_bytes(damaged)
        try:
            read(path)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            n_told += 1
    path.write_bytes(content)
    assert n_told >= 4
    read(path)


def test_potentials(network, tmp_path):
    network.save(tmp_path / "a.npz")
    check(tmp_path / "a.npz", load_potential)
    again = ANNPotential.from_file(tmp_path / "a.npz")
    assert again.arch == network.arch and again.is_trained
    with pytest.raises(FileNotFoundError, match=r"no file .*none.npz"):
        load_potential(tmp_path / "none.npz")
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"]))

    def told(message, header=header, **changes):
        path = tmp_path / "b.npz"
        np.savez(path, **{**arrays, "header": np.array(json.dumps(header)), **changes})
        with pytest.raises(ValueError, match=message):
            load_potential(path)

    first = next(name for name in arrays if name.startswith("Ti."))
    told(rf"b.npz: it does not fit this potential: {first}", **{first: np.zeros(3)})
    told("b.npz: .*not finite", **{first: np.full(arrays[first].shape, np.nan)})
    told("b.npz is no potential .* damaged", {**header, "arch": 3})
    told("b.npz is no potential .* damaged", {k: v for k, v in header.items() if k != "dtype"})
    told("b.npz is no AbstractMLIP, but a Other", {**header, "kind": "Other"})


def test_networks_of_aenet(tmp_path):
    path = tmp_path / "a.Ti.nn.ascii"
    path.write_bytes((DATA / "reference.Ti.nn.ascii").read_bytes())
    from ritz.mlip.potentials.aenet import read_nn_ascii

    check(path, read_nn_ascii)


def test_data_sets(tmp_path):
    made = HDF5StructureDataset(tmp_path / "a.h5", descriptor())
    made.build_database(tio2(2), persist_features=True)

    def read(path):
        kept = HDF5StructureDataset(path, descriptor())
        try:
            for place in range(len(kept)):
                kept.get_structure(place)
                kept.get_features(place)
        finally:
            kept.close()

    check(tmp_path / "a.h5", read)


def test_folders_of_committees(tmp_path):
    for text in ("{", "[]", '{"members": [{}]}', '{"members": 3}', '{"members": []}'):
        (tmp_path / "committee_metadata.json").write_text(text)
        with pytest.raises(ValueError, match=r"committee_metadata.json (is damaged|lists no)"):
            CommitteePotential.from_directory(tmp_path)


def test_what_is_not_finite_is_not_written(tmp_path):
    made = ANNPotential.from_aenet_ascii(
        [DATA / f"reference.{s}.nn.ascii" for s in ("Ti", "O")]
    )  # fmt: skip
    made.parameters["Ti"][0]["bias"] = np.full_like(made.parameters["Ti"][0]["bias"], np.nan)
    with pytest.raises(NotFiniteError, match=r"\(0.Ti.0.bias\) are not finite, since training"):
        made.save(tmp_path / "a.npz")
    with pytest.raises(NotFiniteError):
        made.to_aenet_ascii(tmp_path / "files")
    assert not (tmp_path / "a.npz").exists()
    found = {
        "a": np.nan,
        "b": [np.inf, 1.0],
        "c": np.float32(2),
        "d": None,
        "e": np.array([np.nan]),
    }
    assert dump_json(found) == '{"a": null, "b": [null, 1.0], "c": 2.0, "d": null, "e": [null]}'


@pytest.mark.parametrize("kind", ["rmse", "mse", "huber"])
def test_a_loss_that_is_not_finite_is_not_zero(kind):
    errors = Residuals(np.array([np.nan, 1.0]), np.ones(2))
    assert np.isnan(Loss(kind)(errors, 0.0, 0.0))
    assert Loss(kind)(Residuals(np.zeros(2), np.ones(2)), 0.0, 0.0) == 0


def test_weights_that_are_all_zero_are_refused():
    structures = tio2(4)
    for structure in structures:
        structure.weight = 0.0
    with pytest.raises(
        ValueError, match="of 3 structures none has a weight above 0.*structure0001.xsf"
    ):
        potential().driver(structures, config(testpercent=25, split_seed=0))


def test_activations_that_only_aenet_has_are_named(tmp_path):
    lines = (DATA / "reference.Ti.nn.ascii").read_text().splitlines()
    codes = lines[5].split()
    lines[5] = " ".join(["3", *codes[1:]])
    path = tmp_path / "Ti.nn.ascii"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"kinds \[3\]; .*sigmoid \(2\) are known, and .*mtanh"):
        ANNPotential.from_aenet_ascii([path])

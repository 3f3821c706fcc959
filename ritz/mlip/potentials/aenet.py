"""aenet's files of potentials, `.nn.ascii`, one for each species."""

import dataclasses
import itertools
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ritz.folders.files import atomic_write
from ritz.mlip.data.units import to_float
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.descriptors.chebyshev import ChebyshevDescriptor
from ritz.mlip.models.atomic import Layer
from ritz.wording import counted

_CODES = {"linear": 0, "tanh": 1, "sigmoid": 2}
"""aenet's numbers of the activations."""

_NAMES = {code: name for name, code in _CODES.items()}

_MOST_LAYERS = 1000

_LARGEST = 1e15


@dataclasses.dataclass(frozen=True)
class AenetNetwork:
    """Contents of a `.nn.ascii` file."""

    species: str
    hidden: tuple[tuple[int, str], ...]
    layers: list[Layer]
    """`weights` of shape (inputs, outputs) and `bias`, the output layer last."""
    descriptor: AbstractDescriptor
    description: str
    feature_min: Float[np.ndarray, " n_features"]
    feature_max: Float[np.ndarray, " n_features"]
    feature_mean: Float[np.ndarray, " n_features"]
    feature_square: Float[np.ndarray, " n_features"]
    """The mean square, which the format calls cov."""
    n_evaluations: int
    file: str
    """The training set."""
    is_normalised: bool
    """Whether energies are scaled and shifted."""
    e_scaling: float
    e_shift: float
    atomic_energies: dict[str, float]
    n_atoms: int
    n_structures: int
    e_min: float
    e_max: float
    e_mean: float

    @property
    def feature_std(self) -> Float[np.ndarray, " n_features"]:
        """The standard deviation of the features."""
        return np.sqrt(np.maximum(self.feature_square - self.feature_mean**2, 0))


class _Values:
    """The values of a file, one after another; some are lines of text."""

    def __init__(self, path: Path):
        self._path = path
        self._lines = path.read_text().splitlines()
        self._line = 0
        self._words: list[str] = []

    def word(self) -> str:
        while not self._words:
            if self._line == len(self._lines):
                raise ValueError(f"{self._path} ends before all values were read.")
            self._words = self._lines[self._line].split()
            self._line += 1
        return self._words.pop(0)

    def text(self) -> str:
        """The next line as it is."""
        if self._line == len(self._lines):
            raise ValueError(f"{self._path} ends before all values were read.")
        self._words = []
        self._line += 1
        return self._lines[self._line - 1].strip()

    def number(self) -> float:
        word = self.word()
        try:
            return to_float(word)
        except ValueError:
            raise ValueError(
                f"{self._path}, line {self._line}: a number is expected, but {word!r} is there."
            ) from None

    def integer(self) -> int:
        return int(self.integers(1)[0])

    def numbers(self, count: int) -> Float[np.ndarray, " count"]:
        if count < 0:
            raise ValueError(
                f"{self._path}, line {self._line}: {counted(count, 'value')} cannot be read."
            )
        return np.array([self.number() for _ in range(count)])

    def integers(self, count: int) -> Int[np.ndarray, " count"]:
        found = self.numbers(count)
        if np.any(found != np.round(found)) or np.any(np.abs(found) > _LARGEST):
            raise ValueError(
                f"{self._path}, line {self._line}: a whole number is expected, but {found} is there"
            )
        return found.astype(int)


def read_nn_ascii(path: str | PathLike[str]) -> AenetNetwork:
    """Read a network with its descriptor and statistics.

    Raises:
        ValueError: If the file cannot be understood, or holds another descriptor than Chebyshev's.
    """
    try:
        found = _read(Path(path))
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        told = " ".join(str(error).split())
        if told.startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be read as a network of aenet: {told}") from error
    weights = [layer[name] for layer in found.layers for name in ("weights", "bias")]
    for numbers in (
        *weights,
        found.feature_mean,
        found.feature_square,
        found.e_scaling,
        found.e_shift,
        list(found.atomic_energies.values()),
    ):
        if not np.all(np.isfinite(numbers)):
            raise ValueError(f"{path} has numbers that are not finite.")
    return found


def _read(path: Path) -> AenetNetwork:
    values = _Values(path)
    n_layers, _, n_weights, _ = values.integers(4)
    if not 2 <= n_layers <= _MOST_LAYERS:
        raise ValueError(f"{path} claims {n_layers} layers; is it a network of aenet?")
    nodes = values.integers(n_layers)
    codes = values.integers(n_layers - 1)
    values.integers(2 * n_layers)  # where weights and values of each layer begin
    unknown = sorted({*map(int, codes)} - set(_NAMES))
    if unknown:
        known = ", ".join(f"{name} ({code})" for name, code in _CODES.items())
        raise ValueError(
            f"{path} has activations of the kinds {unknown}; {known} are known, and aenet's mtanh "
            "(3) and twist (4) are not."
        )
    if np.any(nodes < 1):
        raise ValueError(f"{path} claims layers of {nodes} nodes.")
    if n_weights != np.sum((nodes[:-1] + 1) * nodes[1:]):
        raise ValueError(f"{path}: {n_weights} weights do not fit to layers of {nodes} nodes.")
    layers = []
    for fan_in, fan_out in itertools.pairwise(nodes):
        matrix = values.numbers((fan_in + 1) * fan_out).reshape(fan_in + 1, fan_out)
        layers.append({"weights": matrix[:-1], "bias": matrix[-1]})
    hidden = tuple((int(n), _NAMES[code]) for n, code in zip(nodes[1:-1], codes[:-1], strict=True))
    description, species = values.text(), values.word()
    environment = [values.word() for _ in range(values.integer())]
    rc_min, _ = values.numbers(2)
    kind = values.word()
    if kind.lower() != "chebyshev":
        raise ValueError(f"{path} has the descriptor {kind!r}; only Chebyshev can be read.")
    n_features, n_parameters = values.integers(2)
    if n_features < 1 or n_parameters < 4:
        raise ValueError(
            f"{path} claims {counted(n_features, 'feature')} with "
            f"{counted(n_parameters, 'parameter')}."
        )
    values.integers(n_features)
    parameters = values.numbers(n_parameters * n_features)
    values.integers(2 * n_features)
    descriptor = ChebyshevDescriptor.from_aenet(environment, float(rc_min), list(parameters[:4]))
    if descriptor.n_features != n_features or nodes[0] != n_features:
        raise ValueError(
            f"{path}: {counted(n_features, 'feature')} and {counted(nodes[0], 'input')} do not "
            f"fit to {descriptor}."
        )
    n_evaluations = values.integer()
    low, high, mean, square = (values.numbers(n_features) for _ in range(4))
    file, flag = values.text(), values.word()
    e_scaling, e_shift = values.numbers(2)
    names = [values.word() for _ in range(values.integer())]
    energies = values.numbers(len(names))
    n_atoms, n_structures = values.integers(2)
    e_min, e_max, e_mean = map(float, values.numbers(3))
    return AenetNetwork(
        species=species,
        hidden=hidden,
        layers=layers,
        descriptor=descriptor,
        description=description,
        feature_min=low,
        feature_max=high,
        feature_mean=mean,
        feature_square=square,
        n_evaluations=n_evaluations,
        file=file,
        is_normalised=flag.upper().startswith("T"),
        e_scaling=float(e_scaling),
        e_shift=float(e_shift),
        atomic_energies=dict(zip(names, map(float, energies), strict=True)),
        n_atoms=int(n_atoms),
        n_structures=int(n_structures),
        e_min=e_min,
        e_max=e_max,
        e_mean=e_mean,
    )


def write_nn_ascii(path: str | PathLike[str], network: AenetNetwork) -> None:
    """Write a network as aenet reads it.

    Raises:
        ValueError: If aenet has no such activation or descriptor.
    """
    name, setup = network.descriptor.aenet_parameters()
    unknown = sorted({name for _, name in network.hidden} - set(_CODES))
    if unknown:
        raise ValueError(
            f"aenet has no activation {', '.join(unknown)}; its files know {', '.join(_CODES)}."
        )
    d = network.descriptor
    nodes = [d.n_features, *(n for n, _ in network.hidden), 1]
    codes = [*(_CODES[name] for _, name in network.hidden), 0]
    sizes = [(a + 1) * b for a, b in itertools.pairwise(nodes)]
    weights = np.concatenate(
        [np.vstack([layer["weights"], layer["bias"][None]]).reshape(-1) for layer in network.layers]
    )
    parameters = np.zeros((d.n_features, len(setup)))
    parameters.reshape(-1)[: len(setup)] = setup
    lines = [
        *_integers([len(nodes)]),
        *_integers([max(nodes)]),
        *_integers([sum(sizes)]),
        *_integers([sum(nodes) + len(nodes) - 1]),
        *_integers(nodes),
        *_integers(codes),
        *_integers(np.cumsum([0, *sizes])),
        *_integers(np.cumsum([0, *(n + 1 for n in nodes[:-1])])),
        *_numbers(weights),
        network.description,
        network.species,
        *_integers([len(d.species)]),
        " ".join(d.species),
        *_numbers([d.min_cutoff]),
        *_numbers([d.cutoff]),
        name,
        *_integers([d.n_features]),
        *_integers([len(setup)]),
        *_integers([0] * d.n_features),
        *_numbers(parameters.reshape(-1)),
        *_integers([0] * (2 * d.n_features)),
        *_integers([network.n_evaluations]),
        *_numbers(network.feature_min),
        *_numbers(network.feature_max),
        *_numbers(network.feature_mean),
        *_numbers(network.feature_square),
        network.file,
        "T" if network.is_normalised else "F",
        *_numbers([network.e_scaling]),
        *_numbers([network.e_shift]),
        *_integers([len(network.atomic_energies)]),
        " ".join(network.atomic_energies),
        *_numbers(list(network.atomic_energies.values())),
        *_integers([network.n_atoms]),
        *_integers([network.n_structures]),
        *_numbers([network.e_min, network.e_max, network.e_mean]),
    ]
    atomic_write(Path(path), ("\n".join(lines) + "\n").encode())


def _integers(values: Sequence[int] | np.ndarray) -> list[str]:
    return [" ".join(f"{int(v):12d}" for v in part) for part in _chunks(values, 10)]


def _numbers(values: Sequence[float] | np.ndarray) -> list[str]:
    return [" ".join(f"{float(v): .17e}" for v in part) for part in _chunks(values, 4)]


def _chunks(values: Sequence[float] | np.ndarray, size: int) -> list[Sequence[float] | np.ndarray]:
    return [values[start : start + size] for start in range(0, len(values), size)]

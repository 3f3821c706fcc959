"""Short runs of molecules of many kinds, whose rows must not depend on devices and processes.

`python -m tests.molecule.many_devices OUT [NAME...]`, see `tests.arrangements`.
"""

from tests.arrangements import columns, report

N_STEPS, N_WALKERS = 3, 24


def cases():
    """Name -> function that returns drivers, of which each runs after the one before."""
    import jax.numpy as jnp
    import numpy as np
    from flax import linen as nn

    from ritz.molecule import VMC, Evaluation, FermiNet, Molecule
    from ritz.molecule.estimators import Dipole, Forces, SpinSquared
    from ritz.molecule.orbitals import slater_orbitals
    from ritz.molecule.pretraining import Pretraining
    from ritz.molecule.scan import Scan
    from ritz.samplers import MALA, Metropolis, OneParticle
    from ritz.updates import KFAC, MARCH, SPRING, SR, Gradient, MinSR

    molecule = Molecule("He")
    spin = SpinSquared(1, 1)
    settings = {"n_walkers": N_WALKERS, "dtype": "float64", "seed": 3}

    class Small(nn.Module):
        """Electrons in an s orbital each, with a correlation from two dense layers."""

        @nn.compact
        def __call__(self, x):
            r, apart = jnp.linalg.norm(x, axis=1), jnp.linalg.norm(x[0] - x[1])
            inner = nn.Dense(4, param_dtype=float)(jnp.stack([r[0], r[1], apart]))
            outer = nn.Dense(1, param_dtype=float)(jnp.tanh(inner))
            return jnp.ones(()), -1.7 * jnp.sum(r) + 0.3 * apart + 0.1 * outer[0]

    def ferminet():
        return FermiNet(molecule, hidden=((8, 4),), n_determinants=2, dtype=jnp.float64)

    def vmc(update=None, rate=None, network=None, **options):
        given = () if rate is None else (rate,)
        network = Small() if network is None else network
        return [VMC(molecule, network, *given, update=update, **settings, **options)]

    def evaluated():
        driver = vmc()[0]
        return [driver, lambda: Evaluation(molecule, Small(), driver.parameters, **settings)]

    def slater(params, x):
        return jnp.ones(()), -params["slope"] * jnp.linalg.norm(x[0])

    def states():
        params = {"slope": np.array([0.9, 0.5])}
        hydrogen = Molecule("H")
        driver = VMC(
            hydrogen, slater, 0.1, params=params, update=Gradient(), n_states=2, **settings
        )
        return [
            driver,
            lambda: Evaluation(hydrogen, slater, driver.parameters, n_states=2, **settings),
        ]

    def scan(update):
        pairs = [Molecule([("H", (0, 0, 0)), ("H", (0, 0, z))], unit="bohr") for z in (1.4, 1.6)]
        options = {"n_first": 1, "n_updates": 1, "n_measured": 10, "forces": Forces(pairs[0])}
        network = FermiNet(pairs[0], hidden=((8, 4),), n_determinants=2, dtype=jnp.float64)
        return [Scan(pairs, network, 1e-2, update=update, **options, **settings)]

    return {
        "SPRING": vmc,
        "KFAC": lambda: vmc(KFAC()),
        "KFAC, in chunks": lambda: vmc(KFAC(), chunk_size=5),
        "SPRING, in chunks": lambda: vmc(chunk_size=5),
        "gradient": lambda: vmc(Gradient(), 1e-2),
        "gradient, in chunks": lambda: vmc(Gradient(), 1e-2, chunk_size=7),
        "SR": lambda: vmc(SR(1e-2), 1e-2),
        "minSR": lambda: vmc(MinSR(1e-2), 1e-2),
        "MARCH": lambda: vmc(MARCH(1e-2), 1e-2),
        "SPRING proper": lambda: vmc(SPRING(1e-2), 1e-2),
        "one particle": lambda: vmc(sampler=OneParticle()),
        "MALA": lambda: vmc(sampler=MALA()),
        "estimators": lambda: vmc(
            estimators={"dipole": Dipole(molecule), "forces": Forces(molecule), "spin": spin}
        ),
        "FermiNet, SPRING": lambda: vmc(network=ferminet()),
        "FermiNet, KFAC": lambda: vmc(KFAC(), network=ferminet()),
        "FermiNet, gradient": lambda: vmc(Gradient(), 1e-2, network=ferminet()),
        "Metropolis": lambda: vmc(sampler=Metropolis(n_moves=3)),
        "pretraining": lambda: [
            Pretraining(molecule, ferminet(), slater_orbitals(molecule), **settings)
        ],
        "evaluation": evaluated,
        "two states": states,
        "scan, KFAC": lambda: scan(KFAC()),
        "scan, gradient": lambda: scan(Gradient()),
    }  # fmt: skip


def found(drivers):
    """The rows of short runs, the parameters after them and the moments of the walkers."""
    import jax
    import numpy as np

    from ritz.loggers import RuntimeLog

    numbers = {}
    for number, driver in enumerate(drivers):
        driver = driver() if callable(driver) else driver
        driver.burn_in(2)
        log = RuntimeLog()
        driver.run(getattr(driver, "n_steps", N_STEPS), out=log, show_progress=False)
        here = columns(log.data)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(driver.parameters)]
        here |= {f"parameters.{i}": leaf for i, leaf in enumerate(leaves)}
        for name, moments in getattr(driver, "chain_moments", {}).items():
            here |= {f"moments.{name}.{k}": v for k, v in moments._asdict().items()}
        numbers |= {f"{number}.{name}": value for name, value in here.items()}
    return numbers


if __name__ == "__main__":
    report(cases, found)

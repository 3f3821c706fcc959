"""Short lattice runs of many kinds, whose rows must not depend on devices and processes.

`python -m tests.lattice.many_devices OUT [NAME...]`, see `tests.arrangements`.
"""

from tests.arrangements import columns, report

N_STEPS = 4


def cases():
    """Name -> function that returns a driver."""
    import jax
    import jax.numpy as jnp
    import netket as nk
    import numpy as np
    import optax
    from flax import linen as nn

    from ritz.lattice import (
        TDVP,
        VMC,
        ARDirectSampler,
        ConnectedCorrelator,
        Evaluation,
        Infidelity,
        MetropolisExchange,
        MetropolisLocal,
        Renyi2,
        SteadyState,
        Variance,
        mc_state,
    )  # fmt: skip
    from ritz.lattice.models import FixedSumARNN, MarshallSign, Symmetrized
    from ritz.updates import CG, KFAC, MARCH, SPRING, SR, Cholesky, Gradient, MinSR

    n, chain = 6, nk.graph.Chain(6)
    spins, balanced = nk.hilbert.Spin(0.5, n), nk.hilbert.Spin(0.5, n, total_sz=0)
    bosons = nk.hilbert.Fock(3, 4, n_particles=4)
    ising = nk.operator.IsingJax(spins, chain, h=1.0)
    heisenberg = nk.operator.Heisenberg(balanced, chain, sign_rule=True)
    sx = [nk.operator.spin.sigmax(spins, i) for i in range(n)]
    sz = [nk.operator.spin.sigmaz(spins, i) for i in range(n)]
    real, other = nk.models.RBM(alpha=1), nk.models.RBM(alpha=1, param_dtype=complex)
    seeds = {"seed": 1, "sampler_seed": 2}

    def local(model=real, **options):
        return mc_state(model, spins, **{"n_samples": 48, **seeds, **options})

    def of(sampler, model=real, n_samples=48, **options):
        return nk.vqs.MCState(sampler, model, n_samples=n_samples, **seeds, **options)

    def vmc(state=None, update=None, operator=ising, rate=0.02, **options):
        state = local() if state is None else state
        update = SR(1e-2) if update is None else update
        return VMC(operator, rate, variational_state=state, update=update, **options)

    def full(model=real):
        return nk.vqs.FullSumState(spins, model, seed=1)

    fixed = FixedSumARNN(
        balanced, nk.models.ARNNDense(hilbert=nk.hilbert.Spin(0.5, n), layers=2, features=3)
    )
    dense = nk.models.ARNNDense(hilbert=spins, layers=2, features=3)
    observables = {
        "flip": sum(sx) * (1 / n),
        "parity": lambda params, x: np.prod(x) * 1.0,
        "variance": Variance(ising),
        "correlator": ConnectedCorrelator(sz[0], sz[2]),
        "entropy": Renyi2([0, 1]),
    }

    class Normalised(nn.Module):
        """Hidden units whose statistics follow the samples, and a factor from one parameter."""

        @nn.compact
        def __call__(self, x, use_running_average=True):
            y = nn.Dense(4, param_dtype=float)(x)
            y = nn.BatchNorm(use_running_average=use_running_average, param_dtype=float)(y)
            factor = self.param("factor", nn.initializers.ones, (), float)
            return jax.nn.softplus(factor) * jnp.sum(nk.nn.activation.log_cosh(y), axis=-1)

    follows = {"mutable": ["batch_stats"], "training_kwargs": {"use_running_average": False}}
    few = {"n_chains": 12}
    made = {
        "SR": lambda: vmc(),
        "SR, complex": lambda: vmc(local(other), rate=0.01),
        "SR, CG": lambda: vmc(update=SR(1e-2, solver=CG())),
        "SR, in chunks": lambda: vmc(local(chunk_size=8), chunk_size_bwd=16),
        "SR, adam, discarding": lambda: vmc(local(n_discard_per_chain=2), rate=optax.adam(1e-2)),
        "minSR": lambda: vmc(update=MinSR(1e-2)),
        "minSR, complex, in chunks": lambda: vmc(local(other, chunk_size=8), MinSR(1e-2)),
        "SPRING": lambda: vmc(update=SPRING(1e-2)),
        "SPRING, complex": lambda: vmc(local(other), SPRING(1e-2)),
        "MARCH": lambda: vmc(update=MARCH(1e-2)),
        "KFAC": lambda: vmc(update=KFAC()),
        "KFAC, complex": lambda: vmc(local(other), KFAC(), rate=0.01),
        "KFAC, in chunks": lambda: vmc(local(chunk_size=8), KFAC()),
        "gradient": lambda: vmc(update=Gradient()),
        "gradient, in chunks": lambda: vmc(local(chunk_size=8), Gradient()),
        "gradient, complex": lambda: vmc(local(other), Gradient()),
        "normalised, gradient": lambda: vmc(local(Normalised(), **follows), Gradient()),
        "normalised, KFAC": lambda: vmc(local(Normalised(), **follows), KFAC()),
        "normalised, SR": lambda: vmc(local(Normalised(), **follows)),
        "normalised, SPRING": lambda: vmc(local(Normalised(), **follows), SPRING(1e-2)),
        "default rule": lambda: VMC(ising, 0.02, variational_state=local()),
        "observables": lambda: vmc(observables=observables),
        "observables, in chunks": lambda: vmc(local(chunk_size=8), observables=observables),
        "no local updates": lambda: vmc(local_updates=False),
        "single precision": lambda: vmc(single_scores=True),
        "machine_pow": lambda: vmc(local(machine_pow=1.0)),
        "few chains": lambda: vmc(of(MetropolisLocal(spins, **few))),
        "netket's local": lambda: vmc(of(nk.sampler.MetropolisLocal(spins, **few))),
        "netket's local, reset": lambda: vmc(
            of(nk.sampler.MetropolisLocal(spins, reset_chains=True, **few))
        ),
        "netket's Hamiltonian": lambda: vmc(
            of(nk.sampler.MetropolisHamiltonian(spins, hamiltonian=ising, **few))
        ),
        "netket's tempering": lambda: vmc(
            of(nk.sampler.ParallelTemperingLocal(spins, n_chains=12, n_replicas=4))
        ),
        "netket's rules": lambda: vmc(
            of(
                nk.sampler.MetropolisSampler(
                    spins,
                    nk.sampler.rules.MultipleRules(
                        [nk.sampler.rules.LocalRule(), nk.sampler.rules.HamiltonianRule(ising)],
                        [0.5, 0.5],
                    ),
                    **few,
                )
            )
        ),
        "netket's exchange": lambda: vmc(
            of(nk.sampler.MetropolisExchange(balanced, graph=chain, **few)), operator=heisenberg
        ),
        "exchange": lambda: vmc(
            mc_state(real, balanced, n_samples=48, graph=chain, **seeds), operator=heisenberg
        ),
        "global exchange": lambda: vmc(
            of(MetropolisExchange(balanced, graph=chain, d_max=n, **few)), operator=heisenberg
        ),
        "bosons": lambda: vmc(
            mc_state(
                nk.models.Jastrow(), bosons, n_samples=48, graph=nk.graph.Chain(4), **seeds
            ),
            operator=nk.operator.BoseHubbard(bosons, nk.graph.Chain(4), U=1.0).to_jax_operator(),
        ),
        "exact": lambda: vmc(of(nk.sampler.ExactSampler(spins))),
        "autoregressive": lambda: vmc(of(ARDirectSampler(spins), dense)),
        "autoregressive, observables": lambda: vmc(
            of(ARDirectSampler(spins), dense), observables=observables
        ),
        "autoregressive, fixed sum": lambda: vmc(
            of(ARDirectSampler(balanced), fixed), operator=heisenberg
        ),
        "full sum": lambda: vmc(full(), observables=observables),
        "full sum, complex": lambda: vmc(full(other), MinSR(1e-2)),
        "symmetric": lambda: vmc(
            local(nk.models.RBMSymm(chain.translation_group(), alpha=2)), MinSR(1e-2)
        ),
        "convolution": lambda: vmc(
            local(
                nk.models.GCNN(
                    chain.translation_group(), layers=2, features=2, mode="fft",
                    param_dtype=float, shape=(6,),
                )
            )
        ),
        "symmetrized": lambda: vmc(
            local(Symmetrized(MarshallSign(nk.models.RBM(), chain), chain.point_group()))
        ),
        "excited": lambda: vmc(orthogonal_to=[local(seed=5)], penalty=4.0),
        "infidelity": lambda: Infidelity(
            local(seed=5), 0.02, variational_state=local(), update=SR(1e-2)
        ),
        "evaluation": lambda: Evaluation(ising, variational_state=local(), observables=observables),
        "evaluation, few chains": lambda: Evaluation(
            ising, variational_state=of(MetropolisLocal(spins, **few))
        ),
        "evaluation, autoregressive": lambda: Evaluation(
            ising, variational_state=of(ARDirectSampler(spins), dense), observables=observables
        ),
        "TDVP": lambda: TDVP(
            ising, local(other), 0.01, integrator="Heun", solver=Cholesky(), diag_shift=1e-3
        ),
        "TDVP, adaptive": lambda: TDVP(
            ising, local(other), 0.01, solver=Cholesky(), diag_shift=1e-3
        ),
    }  # fmt: skip

    def steady():
        two = nk.hilbert.Spin(0.5, 2)
        jumps = [nk.operator.spin.sigmam(two, i) for i in range(2)]
        lindbladian = nk.operator.LocalLiouvillian(
            sum(nk.operator.spin.sigmax(two, i) for i in range(2)), jumps
        )
        space = nk.hilbert.DoubledHilbert(two)
        sampler = nk.sampler.MetropolisLocal(space, **few)
        state = nk.vqs.MCMixedState(
            sampler, nk.models.NDM(alpha=1, beta=1), n_samples=48, n_samples_diag=24,
            sampler_diag=nk.sampler.MetropolisLocal(two, **few), **seeds,
        )  # fmt: skip
        return SteadyState(lindbladian, 0.01, variational_state=state, update=SR(1e-1))

    made["steady state"] = steady
    return made


def found(driver):
    """The rows of a short run, the parameters after it and the moments of the chains."""
    import jax
    import numpy as np

    from ritz.loggers import RuntimeLog

    log = RuntimeLog()
    length = 0.04 if hasattr(driver, "t") else N_STEPS
    driver.run(length, out=log, show_progress=False)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(driver.parameters)]
    numbers = {f"parameters.{i}": leaf for i, leaf in enumerate(leaves)}
    for name, moments in getattr(driver, "chain_moments", {}).items():
        numbers |= {f"moments.{name}.{k}": v for k, v in moments._asdict().items()}
    return columns(log.data) | numbers


if __name__ == "__main__":
    report(cases, found)

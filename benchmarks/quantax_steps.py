"""Times steps of Quantax, in an environment that has it and need not have Ritz.

Usage: python quantax_steps.py LENGTH N_SAMPLES RATE STEPS

The last line of the output is a list of the seconds of each step but the first two, which compile.
"""

import json
import sys
import time

import jax
import quantax as qtx

N_FIRST = 2


def main(length: int, n_samples: int, rate: float, steps: int) -> None:
    """Heisenberg's antiferromagnet in the basis of Marshall's signs."""
    n = length * length
    qtx.sites.Square(L=length, Nparticles=(n // 2, n // 2))
    hamiltonian = qtx.operator.Heisenberg(msr=True)
    state = qtx.state.Variational(qtx.model.ResConv(2, 8, 4))
    sampler = qtx.sampler.SpinExchange(state, n_samples, sweep_steps=n)
    optimizer = qtx.optimizer.SR(state, hamiltonian)
    seconds = []
    for _ in range(steps + N_FIRST):
        begin = time.perf_counter()
        step = optimizer.get_step(sampler.sweep())
        state.update(step * rate)
        jax.block_until_ready(state.get_params_flatten())
        seconds.append(time.perf_counter() - begin)
    sys.stderr.write(f"{state.nparams} parameters, energy {optimizer.energy}\n")
    sys.stdout.write(json.dumps(seconds[N_FIRST:]) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))

"""The number of threads of BLAS, which compete with those of XLA."""

import contextlib


def limited_blas(n_threads: int | None) -> contextlib.AbstractContextManager[object]:
    """Context in which BLAS uses at most so many threads; None leaves the number unchanged.

    LAPACK's factorisations inside compiled programs use BLAS, whose waiting threads take time from
    those of XLA.
    """
    if n_threads is None:
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(n_threads, user_api="blas")

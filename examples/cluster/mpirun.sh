#!/bin/bash
# One run with Open MPI in a job of PBS, with one process for each place that the job has.
#
#   qsub mpirun.sh
#
# or without a queue, on this machine: N=2 bash mpirun.sh [SETTING=VALUE ...]
#
#PBS -N chain
#PBS -l select=2:ncpus=8:mpiprocs=4:ngpus=4
#PBS -l walltime=04:00:00

cd "${PBS_O_WORKDIR:-.}" || exit 1
n=${N:-$(wc -l < "$PBS_NODEFILE")}

mpirun -n "$n" \
    ritz lattice train --distributed --progress=false folder=runs/chain "$@"

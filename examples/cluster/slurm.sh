#!/bin/bash
# One run on several nodes of Slurm, with one process for each GPU.
#
#   sbatch slurm.sh [SETTING=VALUE ...]
#
#SBATCH --job-name=chain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=USR1@300
#SBATCH --open-mode=append

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

# Five minutes before the end Slurm sends SIGUSR1 to the processes. They save the run, and
# SlurmRequeue puts the job in the queue again, where the same command goes on.
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    ritz lattice train --distributed --progress=false folder=runs/chain \
    train.callbacks='[SlurmRequeue]' "$@"

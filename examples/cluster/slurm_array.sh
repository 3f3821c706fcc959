#!/bin/bash
# Many runs that differ in the seed: a job array, in which each task has one process.
#
#   sbatch slurm_array.sh [SETTING=VALUE ...]
#
#SBATCH --job-name=seeds
#SBATCH --array=0-9%4
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
seed=$SLURM_ARRAY_TASK_ID

ritz lattice train --progress=false folder="runs/seeds/$seed" seed="$seed" "$@" &&
    ritz lattice evaluate --progress=false folder="runs/seeds/$seed"

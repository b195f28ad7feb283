#!/bin/bash
# Four nodes, two ranks on each (one per socket), all cores of a socket as threads of its rank.
# Submit with: sbatch docs/slurm_mpi.sh
#SBATCH --job-name=parallel_ridge
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=16
#SBATCH --hint=nomultithread
#SBATCH --time=00:30:00
#SBATCH --output=%x-%j.out

set -euo pipefail
# The environment in which mpi4py was built against the cluster's MPI library.
source "${VENV:?set VENV to the virtual environment}/bin/activate"

# A thread for each core of a rank, and none of BLAS's own beside them.
export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
export OMP_PROC_BIND=close OMP_PLACES=cores

# Ranks are pinned to their cores; sbatch's --cpus-per-task is not handed on by newer versions.
# --mpi must name what the MPI library was built with: `srun --mpi=list` shows the choice.
srun --mpi=pmix --cpus-per-task="$SLURM_CPUS_PER_TASK" --cpu-bind=cores --kill-on-bad-exit=1 \
    python -m mpi4py "${1:-examples/mpi_mnist.py}"

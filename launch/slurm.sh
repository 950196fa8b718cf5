#!/usr/bin/env bash
# One experiment as a SLURM job that resumes when it is preempted or runs out of time:
#   sbatch launch/slurm.sh classify --workdir=$SCRATCH/trec --source=A --target=B ...
# Submitted from the folder of helix_jax.
#SBATCH --job-name=helix_jax
#SBATCH --nodes=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#SBATCH --open-mode=append
set -euo pipefail
[[ -f launch/words.sh ]] || {
  echo "error: $PWD has no launch/words.sh; submit from the folder of helix_jax" >&2
  exit 2
}
source launch/words.sh # SLURM runs a copy of this file from elsewhere
check_experiment "$@"
experiment=$1
shift
# Any experiment can be killed at any moment: the same command goes on.
trap 'scontrol requeue "$SLURM_JOB_ID"; exit 0' TERM
"${VENV:-.venv}/bin/python" -m "experiments.$experiment" "$@" &
wait $!

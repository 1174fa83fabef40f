#!/bin/bash
# Train, then compute the curvature, then make a table: three jobs, each waiting for the one before.
# Call it on a login node.
#
#   jobs/chain.sh CONFIG.toml OUT [key=value ...]    one run, into OUT; its table is OUT/table.md
#   jobs/chain.sh --sweep SWEEP.toml TABLE.md        the missing runs of a sweep, and a table of all that are done

TRAIN=${TRAIN:-}      # sbatch's options for the training, such as "-N 2 --gpus-per-node=4 --ntasks-per-node=5"
HESSIAN=${HESSIAN:-}  # and for the curvature, such as "--gpus=1"
TABLE=${TABLE:-}      # and for the table
MPIFL_JOBS=${MPIFL_JOBS:-$(cd "$(dirname "$0")" && pwd)}
export MPIFL_JOBS
# shellcheck source=launch.sh
. "$MPIFL_JOBS/launch.sh"

# after DEPENDENCY ARGUMENTS...: submit a job that waits; Slurm drops it if what it waits for fails
after() {
    sbatch --parsable --kill-on-invalid-dep=yes --dependency="$1" "${@:2}" || exit
}

# shellcheck disable=SC2086  # options are several words
if [ "${1:-}" = --sweep ]; then
    sweep=${2:?expected a sweep file} table=${3:?expected the file of the table}
    missing=$(mpifl sweep "$sweep" --missing) || exit
    [ -n "$missing" ] || exit 0
    train=$(sbatch --parsable --array="$missing" $TRAIN "$MPIFL_JOBS/sweep.sbatch" "$sweep") || exit
    hessian=$(after "aftercorr:$train" --array="$missing" $HESSIAN "$MPIFL_JOBS/hessian.sbatch" "$sweep") || exit
    table=$(after "afterany:$hessian" $TABLE "$MPIFL_JOBS/table.sbatch" "$table" "$sweep") || exit
else
    config=${1:?expected a config, and the folder of the run} out=${2:?expected the folder of the run after the config}
    train=$(sbatch --parsable $TRAIN "$MPIFL_JOBS/train.sbatch" "$config" "$out" "${@:3}") || exit
    hessian=$(after "afterok:$train" $HESSIAN "$MPIFL_JOBS/hessian.sbatch" "$out") || exit
    table=$(after "afterok:$hessian" $TABLE "$MPIFL_JOBS/table.sbatch" "$out/table.md" "$out") || exit
fi
echo "train $train, hessian $hessian, table $table"

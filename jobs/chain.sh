#!/bin/bash
# Train, then compute the curvature, then make a table: three jobs, each waiting for the one before.
# With MEASURE="--follow ..." one more job measures while the run goes on; the job after the training
# then finds little to do. Call it on a login node.
#
#   jobs/chain.sh CONFIG.toml OUT [key=value ...]    one run, into OUT; its table is OUT/table.md
#   jobs/chain.sh --sweep SWEEP.toml TABLE.md        the missing runs of a sweep, and a table of all that are done

TRAIN=${TRAIN:-}      # sbatch's options for the training, such as "-N 2 --gpus-per-node=4 --ntasks-per-node=5"
HESSIAN=${HESSIAN:-}  # and for the curvature, such as "--gpus=1"
TABLE=${TABLE:-}      # and for the table
MEASURE=${MEASURE:-}  # options of mpifl hessian, such as "--rounds all --clients" or "--follow --local-against-global"
MPIFL_JOBS=${MPIFL_JOBS:-$(cd "$(dirname "$0")" && pwd)}
export MPIFL_JOBS
# shellcheck source=launch.sh
. "$MPIFL_JOBS/launch.sh"

# after DEPENDENCY ARGUMENTS...: submit a job that waits; Slurm drops it if what it waits for fails
after() {
    sbatch --parsable --kill-on-invalid-dep=yes --dependency="$1" "${@:2}" || exit
}

follows='' measure=()
for word in $MEASURE; do
    if [ "$word" = --follow ]; then follows=yes; else measure+=("$word"); fi
done
if [ -n "$follows" ] && [[ " $MEASURE " != *" --rounds "* ]]; then
    measure+=(--rounds all)
fi
if [ -n "$follows" ] && [ "${1:-}" = --sweep ]; then
    echo "jobs: MEASURE: expected --follow with one run; got it with a sweep" >&2
    exit 2
fi

# shellcheck disable=SC2086  # options are several words
if [ "${1:-}" = --sweep ]; then
    sweep=${2:?expected a sweep file} table=${3:?expected the file of the table}
    missing=$(mpifl sweep "$sweep" --missing) || exit
    [ -n "$missing" ] || exit 0
    train=$(sbatch --parsable --array="$missing" $TRAIN "$MPIFL_JOBS/sweep.sbatch" "$sweep") || exit
    hessian=$(after "aftercorr:$train" --array="$missing" $HESSIAN "$MPIFL_JOBS/hessian.sbatch" "$sweep" "${measure[@]}") || exit
    table=$(after "afterany:$hessian" $TABLE "$MPIFL_JOBS/table.sbatch" "$table" "$sweep") || exit
else
    config=${1:?expected a config, and the folder of the run} out=${2:?expected the folder of the run after the config}
    train=$(sbatch --parsable $TRAIN "$MPIFL_JOBS/train.sbatch" "$config" "$out" "${@:3}") || exit
    ready=afterok:$train
    if [ -n "$follows" ]; then
        follower=$(after "after:$train" $HESSIAN "$MPIFL_JOBS/hessian.sbatch" "$out" "${measure[@]}" --follow) || exit
        ready=$ready,afterany:$follower
        told=", follow $follower"
    fi
    hessian=$(after "$ready" $HESSIAN "$MPIFL_JOBS/hessian.sbatch" "$out" "${measure[@]}") || exit
    table=$(after "afterok:$hessian" $TABLE "$MPIFL_JOBS/table.sbatch" "$out/table.md" "$out") || exit
fi
echo "train $train${told:-}, hessian $hessian, table $table"

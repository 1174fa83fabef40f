# shellcheck shell=bash
# What the job files share. They set MPIFL_JOBS, the folder of this file, and source this file. Then
#
#   launch RUN COMMAND...    runs COMMAND on all ranks of the job, and ends the job by the status of RUN:
#
# complete                     the job succeeds
# stopped                      there is a checkpoint: the job queues itself again
# anything else                the job fails, but queues itself again if a node is lost, or if the
#                              warning of its end came before the ranks could receive it
#
# The status is read from the run. The launcher's exit code does not tell: some launchers return 0
# after a node was lost. A job does not queue itself again for ever: see `again`.

# shellcheck source=site.sh
. "$MPIFL_JOBS/site.sh"
# shellcheck disable=SC2086  # several modules
[ -z "$MODULES" ] || module load $MODULES

# mpifl is in VENV. If VENV is empty, it is in the .venv of the checkout; if there is none, on the PATH.
if [ -z "$VENV" ] && [ -d "$MPIFL_JOBS/../.venv" ]; then
    VENV=$MPIFL_JOBS/../.venv
fi
if [ -n "$VENV" ]; then
    PATH=$VENV/bin:$PATH
    found=$VENV/bin/mpifl
else
    found=$(command -v mpifl)
fi
if [ ! -x "$found" ]; then
    remedy="set VENV in $MPIFL_JOBS/site.sh"
    if [ -f "$MPIFL_JOBS/../Makefile" ]; then  # a checkout
        remedy="run \`make demo\` in $(cd "$MPIFL_JOBS/.." && pwd) once (\`make demo MPI=system\` for your site's MPI), or $remedy"
    fi
    echo "jobs: expected the command mpifl in ${VENV:-the PATH}; got none; $remedy" >&2
    exit 1
fi

launch() {
    local run=$1 before code
    shift
    begin_progress "$run" checkpointed_round "$run"
    before=$(fingerprint "$run")
    on_all_ranks "$@"
    code=$?
    conclude "$run" "$before" "$code"
}

# folder_of SWEEP TASK: print the folder of one run of a sweep.
folder_of() {
    mpifl sweep "$1" --list --task "$2" | cut -f 3
    return "${PIPESTATUS[0]}"
}

# Run a command on all ranks and return its exit code. When the scheduler warns the job of its end
# (USR1), pass the signal on to the ranks; WARNED is then the time of the warning, else it is empty.
on_all_ranks() {
    local pid='' code clock='' bell=''
    WARNED=
    command_line "$@"
    LIMIT=$(time_limit)
    compare_with_warning
    trap 'WARNED=$(date "+%F %T"); WARNED_AFTER=$SECONDS; echo "jobs: $WARNED the end is near"; pass_on' USR1
    trap 'echo "jobs: $(date "+%F %T") the job is being ended"' TERM  # Slurm tells the ranks itself
    echo "jobs: $(date '+%F %T') ${LINE[*]}"
    "${LINE[@]}" &
    pid=$!
    [ -z "$WARNED" ] || pass_on
    if [ -n "${PBS_JOBID:-}" ]; then
        warn_in_time &
        clock=$!
    fi
    wait "$pid"
    code=$?
    while kill -0 "$pid" 2>/dev/null; do  # a signal has ended the wait, not the launcher's end
        wait "$pid"
        code=$?
    done
    # shellcheck disable=SC2086  # none, one or two
    [ -z "$clock$bell" ] || kill $clock $bell 2>/dev/null
    rm -f "${SLURM_HOSTFILE:-}"
    unset SLURM_HOSTFILE
    return "$code"
}

# Send USR1 to the launcher every five seconds, because it loses signals that come before its ranks
# have started. They have started when the run of `launch` was written by this job. After that, send
# one more and stop: a later one could kill a rank that has finished.
pass_on() {
    [ -n "$pid" ] && [ -z "$bell" ] || return
    {
        while [ "$(fingerprint "${run:-}")" = "${before:-}" ] && kill -USR1 "$pid"; do sleep 5; done
        kill -USR1 "$pid"
    } >/dev/null 2>&1 &
    bell=$!
}

# PBS sends no warning: wait until WARNING seconds before the walltime is over, at least for half of
# the walltime, then send USR1.
warn_in_time() {
    local pause
    [ -n "$LIMIT" ] || return
    pause=$((LIMIT - $(seconds_of_warning)))
    ((pause >= LIMIT / 2)) || pause=$((LIMIT / 2))
    sleep "$pause" &
    trap 'kill $!' TERM
    wait $! && kill -USR1 $$
}

# Print the time limit of this job in seconds; nothing if it has none, or if it is unknown.
time_limit() {
    local limit
    if [ -n "${PBS_JOBID:-}" ]; then
        limit=$(qstat -f "$PBS_JOBID" | awk '/Resource_List.walltime/ { print $3 }')
    else
        limit=$(scontrol show job -o "${SLURM_JOB_ID:-}" 2>/dev/null | sed -n 's/.* TimeLimit=\([^ ]*\).*/\1/p')
    fi
    # DAYS-HOURS:MINUTES:SECONDS, from the left on as much as there is
    [[ $limit =~ ^(([0-9]+)-)?(([0-9]+):)?(([0-9]+):)?([0-9]+)$ ]] || return 0
    local days=${BASH_REMATCH[2]:-0} hours=${BASH_REMATCH[4]:-0} minutes=${BASH_REMATCH[6]:-0} seconds=${BASH_REMATCH[7]}
    [ -n "${BASH_REMATCH[6]}" ] || { minutes=$hours hours=0; }  # 4:00 is four minutes
    echo $((((10#$days * 24 + 10#$hours) * 60 + 10#$minutes) * 60 + 10#$seconds))
}

# Print how many seconds before the time limit this job is warned. What `sbatch --signal` says on the
# command line is not known here.
seconds_of_warning() {
    if [ -n "${PBS_JOBID:-}" ]; then
        echo "$WARNING"
    elif [[ ${SBATCH_SIGNAL:-} =~ @([0-9]+)$ ]]; then
        echo "${BASH_REMATCH[1]}"
    else
        sed -n 's/^#SBATCH --signal=.*@\([0-9]*\)$/\1/p' "$0" | head -n 1
    fi
}

# Say so if the warning leaves little of the time limit.
compare_with_warning() {
    local early
    early=$(seconds_of_warning)
    if [ -z "$LIMIT" ] || [ -z "$early" ] || ((LIMIT >= 2 * early)); then
        return
    fi
    echo "jobs: the time limit is $LIMIT s, and the warning to stop comes $early s before the end (unless sbatch" \
        "was given another --signal): little or no time is left for rounds. Ask for more time (--time), or for a" \
        "later warning (--signal=B:USR1@SECONDS; PBS: WARNING)"
}

# Set LINE: the launcher, its options, and the command. `layout` says where the ranks go, in order.
command_line() {
    local hosts ranks
    if [ "$LAUNCHER" = srun ]; then
        SLURM_HOSTFILE=$(mktemp) || exit 1
        export SLURM_HOSTFILE
        layout | awk '{ for (i = 0; i < $2; i++) print $1 }' >"$SLURM_HOSTFILE"
        ranks=$(wc -l <"$SLURM_HOSTFILE")
        unset SLURM_NTASKS_PER_NODE  # the server's node may have one rank more
        LINE=(srun --mpi="$SRUN_MPI" --kill-on-bad-exit=1 --distribution=arbitrary --ntasks="$ranks")
        LINE+=(--cpus-per-task="$(number "${SLURM_CPUS_PER_TASK:-}" 1)" --export=ALL)
        ((ranks <= $(number "${SLURM_NTASKS:-}" 0))) || LINE+=(--overcommit)  # more GPUs and a server than tasks asked for
        # shellcheck disable=SC2206  # several options
        LINE+=($SRUN_FLAGS "$@")
    else
        # Hydra starts its proxies with srun; PRRTE would bind ranks to single cores.
        export SLURM_MPI_TYPE=none PRTE_MCA_hwloc_default_binding_policy=none OMPI_MCA_hwloc_base_binding_policy=none
        hosts=$(layout | awk '{ printf "%s%s:%s", (NR > 1 ? "," : ""), $1, $2 }')
        ranks=$(layout | awk '{ n += $2 } END { print n }')
        # shellcheck disable=SC2206
        LINE=("$MPIRUN" -host "$hosts" -n "$ranks" $MPIRUN_FLAGS "$@")
    fi
}

# number TEXT OTHERWISE: print the positive number with which TEXT begins, as in 2(x3); OTHERWISE if
# there is none.
number() {
    if [[ $1 =~ ^0*([1-9][0-9]*) ]]; then
        echo "${BASH_REMATCH[1]}"
    else
        echo "$2"
    fi
}

# Print "HOST RANKS" for every node. With GPUs: RANKS_PER_GPU ranks for each GPU, and one more on the
# first node, the server. Without: the tasks that the job asked for; the first is the server.
layout() {
    local hosts part i gpus counts=()
    gpus=$(number "${SLURM_GPUS_ON_NODE:-}" 0)
    if [ -n "${PBS_NODEFILE:-}" ]; then
        awk '!n[$1]++ { order[++k] = $1 } END { for (i = 1; i <= k; i++) print order[i], n[order[i]] }' "$PBS_NODEFILE"
        return
    fi
    mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    for part in ${SLURM_TASKS_PER_NODE//,/ }; do  # as in 3,2(x4)
        [[ $part =~ ^([0-9]+)(\(x([0-9]+)\))?$ ]] || continue
        for ((i = 0; i < ${BASH_REMATCH[3]:-1}; i++)); do counts+=("${BASH_REMATCH[1]}"); done
    done
    for i in "${!hosts[@]}"; do
        if ((gpus)); then
            echo "${hosts[i]} $((gpus * RANKS_PER_GPU + (i == 0)))"
        else
            echo "${hosts[i]} ${counts[i]:-1}"
        fi
    done
}

# fingerprint RUN: print what changes whenever the run is written.
fingerprint() {
    stat -c '%i %Y %s' "$1/results.h5" 2>/dev/null
}

# conclude RUN FINGERPRINT CODE: end the job by the status of RUN. The launcher has returned CODE; the
# run had FINGERPRINT before.
conclude() {
    local run=$1 before=$2 code=$3 status
    status="not begun"
    if [ -e "$run/results.h5" ]; then
        status=$(mpifl show "$run" --status) || status=unknown
        [ "$code" = 0 ] || [ "$(fingerprint "$run")" != "$before" ] || status="$status as before this job"
    fi
    echo "jobs: $(date '+%F %T') $run is $status; $LAUNCHER ended with $code"
    case $status in
        complete) rm -f "$FRUITLESS"; exit 0 ;;
        stopped) [ "$code" = 4 ] || again ;;  # 4: another job writes the run now
        failed) [[ $code = [234] ]] || all_nodes_answer || again ;;
        *) [[ $code = [234] ]] || { [ -z "$WARNED" ] && all_nodes_answer; } || again ;;
    esac
    exit $((code ? code : 1))
}

# Whether Slurm still reaches all nodes of the job. Slurm itself notices a lost node only minutes
# later; ranks and mpirun end at once, which looks like a failure of the run. If nothing can be
# started on this node either, the answer says nothing about the others: true.
all_nodes_answer() {
    local answers lost
    (($(number "${SLURM_JOB_NUM_NODES:-}" 1) > 1)) || return 0
    answers=$(timeout 60 srun --overlap --mpi=none --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
        --ntasks-per-node=1 --cpus-per-task=1 printenv SLURMD_NODENAME)
    grep -qx "$SLURMD_NODENAME" <<<"$answers" || return 0
    lost=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | grep -vxF "$answers") || return 0
    echo "jobs: $(date '+%F %T') no answer from ${lost//$'\n'/, }"
    return 1
}

# begin_progress RUN COMMAND...: COMMAND prints how far the work on RUN is. A file beside RUN keeps, from
# one restart to the next, how many restarts in a row were without progress.
begin_progress() {
    FRUITLESS=$(dirname "$1")/.$(basename "$1").fruitless-restarts
    PROGRESS=("${@:2}")
    (($(restarts))) || rm -f "$FRUITLESS"
    REACHED=$("${PROGRESS[@]}")
}

# checkpointed_round RUN: print the round of the newest checkpoint.
checkpointed_round() {
    grep -o -m 1 '"round": [0-9]*' "$1/checkpoint/manifest.json" 2>/dev/null
}

# Print how often this job has been queued again.
restarts() {
    number "${RESTARTS:-${SLURM_RESTART_COUNT:-}}" 0
}

# measured RUN: print what changes whenever something is measured of RUN, a folder or a packed file.
measured() {
    stat -c '%i %Y %s' "$1/hessian.h5" "${1%.h5}.hessian.h5" 2>/dev/null
}

# Whether this start is the third in a row without progress: nothing new is kept, or the warning came
# within the first tenth of the time limit.
third_without_progress() {
    local count=0
    if [ "$("${PROGRESS[@]}")" = "$REACHED" ] || { [ -n "$WARNED" ] && ((10 * WARNED_AFTER < ${LIMIT:-0})); }; then
        count=$(($(number "$(cat "$FRUITLESS" 2>/dev/null)" 0) + 1))
    fi
    { mkdir -p "$(dirname "$FRUITLESS")" && echo "$count" >"$FRUITLESS"; } 2>/dev/null
    ((count >= 3))
}

# Queue this job again, and exit. Not if somebody is ending it: a cancelled job must not come back, and
# Slurm itself requeues a preempted one. Not if three starts in a row were without progress either.
again() {
    local me=${SLURM_JOB_ID:-} restarts
    restarts=$(restarts)
    [ -z "${SLURM_ARRAY_JOB_ID:-}" ] || me=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    if third_without_progress; then
        rm -f "$FRUITLESS"
        echo "jobs: not queued again: three starts in a row had no time for a round and its checkpoint;" \
            "ask for more time (the limit is ${LIMIT:-unknown} s), then the same command goes on with the run"
    elif ((restarts >= MAX_RESTARTS)); then
        rm -f "$FRUITLESS"
        echo "jobs: started again $restarts times already (MAX_RESTARTS)"
    elif [ -n "${PBS_JOBID:-}" ]; then
        queue_again_in_pbs $((restarts + 1)) && echo "jobs: queued again"
    elif ! scontrol show job -o "$me" | grep -q 'JobState=RUNNING '; then
        echo "jobs: the job is being ended from outside; the same command goes on with the run"
    elif scontrol requeue "$me"; then
        echo "jobs: queued again"
    fi
    exit 75
}

# queue_again_in_pbs RESTARTS: with the variables AGAIN and the settings. qsub reads their values from
# the environment: a value on its command line would end at its first comma.
queue_again_in_pbs() {
    local names=(MPIFL_JOBS MODULES VENV MPIRUN MPIRUN_FLAGS MAX_RESTARTS WARNING RESTARTS "${AGAIN[@]}")
    RESTARTS=$1
    export "${names[@]?}"
    (IFS=,; qsub -v "${names[*]}" "$SCRIPT")
}

# shellcheck shell=bash
# What the job files share. They set MPIFL_JOBS, the folder of this file, and source this; then
#
#   launch RUN COMMAND...    runs COMMAND on all ranks of the job, and ends the job by what RUN says of itself
#
# complete: the job has succeeded. stopped: it has a checkpoint, and the job starts itself again; so it does where it was
# warned of its end before the ranks could hear of it, and where one of its nodes is lost. Anything else is a failure. No
# launcher's exit code is believed in place of that: some return 0 after a node was lost.

# shellcheck source=site.sh
. "$MPIFL_JOBS/site.sh"
# shellcheck disable=SC2086  # several modules
[ -z "$MODULES" ] || module load $MODULES
# mpifl is in VENV. Where that is empty it is in the .venv of the checkout, or on the PATH.
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
    echo "jobs: expected the command mpifl in ${VENV:-the PATH}; got none; set VENV in $MPIFL_JOBS/site.sh" >&2
    exit 1
fi

launch() {
    local run=$1 before code
    shift
    before=$(fingerprint "$run")
    on_all_ranks "$@"
    code=$?
    conclude "$run" "$before" "$code"
}

# folder_of SWEEP TASK: the folder of one run of a sweep.
folder_of() {
    mpifl sweep "$1" --list --task "$2" | cut -f 3
    return "${PIPESTATUS[0]}"
}

# Run a command on all ranks, and hand the warning before the job's end (USR1) on to them; then WARNED says when that
# was. Its exit code.
on_all_ranks() {
    local pid='' code clock='' bell=''
    WARNED=
    command_line "$@"
    trap 'WARNED=$(date "+%F %T"); echo "jobs: $WARNED the end is near"; hand_on' USR1
    trap 'echo "jobs: $(date "+%F %T") the job is being ended"' TERM  # Slurm tells the ranks itself
    echo "jobs: $(date '+%F %T') ${LINE[*]}"
    "${LINE[@]}" &
    pid=$!
    [ -z "$WARNED" ] || hand_on
    if [ -n "${PBS_JOBID:-}" ]; then
        warn_in_time &
        clock=$!
    fi
    wait "$pid"
    code=$?
    while kill -0 "$pid" 2>/dev/null; do  # it was a signal that ended the wait
        wait "$pid"
        code=$?
    done
    # shellcheck disable=SC2086  # none, one or two
    [ -z "$clock$bell" ] || kill $clock $bell 2>/dev/null
    rm -f "${SLURM_HOSTFILE:-}"
    unset SLURM_HOSTFILE
    return "$code"
}

# Send USR1 to the launcher every five seconds, for what it hears before its ranks are there is lost. Where this job has
# written `launch`'s run, they are there: one that comes after that is the last, lest it kill a rank that is done.
hand_on() {
    [ -n "$pid" ] && [ -z "$bell" ] || return
    {
        while [ "$(fingerprint "${run:-}")" = "${before:-}" ] && kill -USR1 "$pid"; do sleep 5; done
        kill -USR1 "$pid"
    } >/dev/null 2>&1 &
    bell=$!
}

# PBS warns nobody: wait until WARNING seconds before the end of the time that the job was given, then send USR1.
warn_in_time() {
    local limit h m s
    limit=$(qstat -f "$PBS_JOBID" | awk '/Resource_List.walltime/ { print $3 }')
    IFS=: read -r h m s <<<"$limit"
    sleep $((10#$h * 3600 + 10#$m * 60 + 10#$s - WARNING)) &
    trap 'kill $!' TERM
    wait $! && kill -USR1 $$
}

# Set LINE: the launcher, its options, and the command. Ranks go where `layout` says, in that order.
command_line() {
    local hosts ranks
    if [ "$LAUNCHER" = srun ]; then
        SLURM_HOSTFILE=$(mktemp) || exit 1
        export SLURM_HOSTFILE
        layout | awk '{ for (i = 0; i < $2; i++) print $1 }' >"$SLURM_HOSTFILE"
        ranks=$(wc -l <"$SLURM_HOSTFILE")
        unset SLURM_NTASKS_PER_NODE  # that is of the job: the server's node may have a rank more
        LINE=(srun --mpi="$SRUN_MPI" --kill-on-bad-exit=1 --distribution=arbitrary --ntasks="$ranks")
        LINE+=(--cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --export=ALL)
        ((ranks <= ${SLURM_NTASKS:-0})) || LINE+=(--overcommit)  # more GPUs and a server than tasks asked for
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

# "HOST RANKS" for every node. With GPUs: a rank for each, and on the first node one more, the server. Without: the tasks
# that were asked for, of which the first is the server.
layout() {
    local hosts part i counts=()
    if [ -n "${PBS_NODEFILE:-}" ]; then
        awk '!n[$1]++ { order[++k] = $1 } END { for (i = 1; i <= k; i++) print order[i], n[order[i]] }' "$PBS_NODEFILE"
        return
    fi
    mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    for part in ${SLURM_TASKS_PER_NODE//,/ }; do  # as in 3,2(x4)
        [[ $part =~ ^([0-9]+)(\(x([0-9]+)\))?$ ]]
        for ((i = 0; i < ${BASH_REMATCH[3]:-1}; i++)); do counts+=("${BASH_REMATCH[1]}"); done
    done
    for i in "${!hosts[@]}"; do
        if ((${SLURM_GPUS_ON_NODE:-0})); then
            echo "${hosts[i]} $((SLURM_GPUS_ON_NODE + (i == 0)))"
        else
            echo "${hosts[i]} ${counts[i]}"
        fi
    done
}

# What changes whenever a run is written.
fingerprint() {
    stat -c '%i %Y %s' "$1/results.h5" 2>/dev/null
}

conclude() {
    local run=$1 before=$2 code=$3 status
    status=$(mpifl show "$run" --status) || status=unknown
    [ "$code" = 0 ] || [ "$(fingerprint "$run")" != "$before" ] || status="$status as it was before this job"
    echo "jobs: $(date '+%F %T') $run is $status; $LAUNCHER ended with $code"
    case $status in
        complete) exit 0 ;;
        stopped) [ "$code" = 4 ] || again ;;  # 4: another job writes the run now
        failed) [[ $code = [234] ]] || all_nodes_answer || again ;;
        *) [[ $code = [234] ]] || { [ -z "$WARNED" ] && all_nodes_answer; } || again ;;
    esac
    exit $((code ? code : 1))
}

# Whether Slurm still reaches all nodes of the job. Of its own it notices that one is lost minutes later; ranks and mpirun
# do at once, and would take the loss for a failure. Where nothing can be started on this node either, it tells nothing.
all_nodes_answer() {
    local answers lost
    ((${SLURM_JOB_NUM_NODES:-1} > 1)) || return 0
    answers=$(timeout 60 srun --overlap --mpi=none --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
        --ntasks-per-node=1 --cpus-per-task=1 printenv SLURMD_NODENAME)
    grep -qx "$SLURMD_NODENAME" <<<"$answers" || return 0
    lost=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | grep -vxF "$answers") || return 0
    echo "jobs: $(date '+%F %T') no answer from ${lost//$'\n'/, }"
    return 1
}

# Start this job again, unless somebody is ending it: a job that is cancelled would come back, one preempted does anyway.
again() {
    local me=${SLURM_JOB_ID:-} restarts=${RESTARTS:-${SLURM_RESTART_COUNT:-0}}
    [ -z "${SLURM_ARRAY_JOB_ID:-}" ] || me=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    if ((restarts >= MAX_RESTARTS)); then
        echo "jobs: started again $restarts times already (MAX_RESTARTS)"
    elif [ -n "${PBS_JOBID:-}" ]; then
        qsub -v "RESTARTS=$((restarts + 1)),$AGAIN" "$SCRIPT" && echo "jobs: queued again"
    elif ! scontrol show job -o "$me" | grep -q 'JobState=RUNNING '; then
        echo "jobs: the job is being ended from outside; the same command goes on with the run"
    elif scontrol requeue "$me"; then
        echo "jobs: queued again"
    fi
    exit 75
}

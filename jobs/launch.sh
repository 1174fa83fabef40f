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
# after a node was lost.

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
    trap 'WARNED=$(date "+%F %T"); echo "jobs: $WARNED the end is near"; pass_on' USR1
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

# PBS sends no warning: wait until WARNING seconds before the walltime is over, then send USR1.
warn_in_time() {
    local limit h m s
    limit=$(qstat -f "$PBS_JOBID" | awk '/Resource_List.walltime/ { print $3 }')
    IFS=: read -r h m s <<<"$limit"
    sleep $((10#$h * 3600 + 10#$m * 60 + 10#$s - WARNING)) &
    trap 'kill $!' TERM
    wait $! && kill -USR1 $$
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

# Print "HOST RANKS" for every node. With GPUs: a rank for each GPU, and one more on the first node,
# the server. Without: the tasks that the job asked for; the first is the server.
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

# fingerprint RUN: print what changes whenever the run is written.
fingerprint() {
    stat -c '%i %Y %s' "$1/results.h5" 2>/dev/null
}

# conclude RUN FINGERPRINT CODE: end the job by the status of RUN. The launcher has returned CODE; the
# run had FINGERPRINT before.
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

# Whether Slurm still reaches all nodes of the job. Slurm itself notices a lost node only minutes
# later; ranks and mpirun end at once, which looks like a failure of the run. If nothing can be
# started on this node either, the answer says nothing about the others: true.
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

# Queue this job again, and exit. Not if somebody is ending it: a cancelled job must not come back, and
# Slurm itself requeues a preempted one.
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

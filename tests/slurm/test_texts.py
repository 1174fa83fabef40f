"""The job files without a cluster: sound shell, directives that resuming needs, and PBS's to their
end.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
from mpi.launch import environment
from slurm.account import CONFIG, REPOSITORY, hashes
from slurm.cluster import until

from mpifl.store import Run

JOBS = REPOSITORY / "jobs"
FILES = sorted(path for path in JOBS.rglob("*") if path.suffix in (".sh", ".sbatch", ".pbs"))
RESUMED = ["train.sbatch", "sweep.sbatch", "hessian.sbatch"]
SURVIVAL = ("--open-mode=append", "--requeue", "--signal=B:USR1@")


def name(path: Path) -> str:
    return str(path.relative_to(JOBS))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_job_file_is_sound_shell(path):
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""
    if shutil.which("shellcheck"):
        found = subprocess.run(
            ["shellcheck", "-x", "-P", "SCRIPTDIR", path], capture_output=True, text=True
        )
        assert found.stdout == ""


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix != ".sh"], ids=name)
def test_directives_stand_before_the_first_command_where_schedulers_read_them(path):
    lines = path.read_text().splitlines()
    mark = "#SBATCH -" if path.suffix == ".sbatch" else "#PBS -"
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [number for number, line in enumerate(lines) if line.startswith(mark)]
    assert lines[0] == "#!/bin/bash -l"
    assert len(directives) >= 5
    assert max(directives) < first
    assert not re.search(r"(?<![\w}.*])/(home|scratch|work|opt|usr)\b", path.read_text()), (
        "a path of one site"
    )


@pytest.mark.parametrize("job", RESUMED)
def test_jobs_that_are_cut_short_ask_to_be_warned_and_to_start_again(job):
    text = (JOBS / job).read_text()
    assert [directive for directive in SURVIVAL if f"#SBATCH {directive}" not in text] == []


LAYOUTS = {
    "2(x2)": {"": "a 2,b 2", "4": "a 5,b 4"},
    "3,2": {"": "a 3,b 2", "1": "a 2,b 1"},
    "1": {"": "a 1", "2": "a 3"},
    "4,1(x3)": {"": "a 4,b 1,c 1,d 1"},
}


@pytest.mark.parametrize(
    ("tasks", "gpus"), [(tasks, gpus) for tasks, by_gpus in LAYOUTS.items() for gpus in by_gpus]
)
def test_ranks_go_where_tasks_were_asked_for_or_to_gpus_with_the_server_on_the_first_node(
    tasks, gpus
):
    expected = LAYOUTS[tasks][gpus]
    hosts = " ".join(line.split()[0] for line in expected.split(","))
    program = f"scontrol() {{ printf '%s\\n' {hosts}; }}; . {JOBS}/launch.sh; layout"
    own = {
        "MPIFL_JOBS": str(JOBS),
        "VENV": sys.prefix,
        "SLURM_TASKS_PER_NODE": tasks,
        "SLURM_GPUS_ON_NODE": gpus,
    }
    done = subprocess.run(
        ["bash", "-c", program], env=environment("mpich", own), capture_output=True, text=True
    )
    assert (done.stdout.splitlines(), done.stderr) == (expected.split(","), "")


def test_several_ranks_share_each_gpu_where_the_site_says_so(tmp_path):
    asked = {"SLURM_TASKS_PER_NODE": "9(x2)", "SLURM_GPUS_ON_NODE": "4", "RANKS_PER_GPU": "2"}
    program = "scontrol() { printf '%s\\n' a b; }; layout"
    assert in_a_job(program, tmp_path, **asked) == ["a 9", "b 8"]


def in_a_job(program: str, folder: Path, script: str = "train.sbatch", **own: str) -> list[str]:
    """The lines that a bash program prints after it has sourced launch.sh, as a job file does."""
    started = f". {JOBS}/launch.sh; {program}"
    known = environment("mpich", {"MPIFL_JOBS": str(JOBS), "VENV": sys.prefix} | own)
    done = subprocess.run(
        ["bash", "-c", started, JOBS / script],
        env=known,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


LIMITS = {
    "00:03:00": 180,
    "2-01:00:01": 176401,
    "4:00": 240,
    "00:09:08": 548,
    "UNLIMITED": None,
    "": None,
}


@pytest.mark.parametrize("written", LIMITS)
def test_the_time_limit_is_read_in_every_form_that_slurm_writes(tmp_path, written):
    program = f'scontrol() {{ echo "JobId=1 TimeLimit={written} TimeMin=N/A"; }}; time_limit'
    seconds = LIMITS[written]
    assert in_a_job(program, tmp_path) == ([] if seconds is None else [str(seconds)])


@pytest.mark.parametrize(
    ("limit", "signal", "is_told"),
    [("120", "", True), ("240", "", True), ("360", "", False), ("", "", False)]
    + [("120", "B:USR1@30", False), ("3600", "B:USR1@3000", True)],
)
def test_a_time_limit_near_the_warning_is_told(tmp_path, limit, signal, is_told):
    told = in_a_job(f"LIMIT={limit}; compare_with_warning", tmp_path, SBATCH_SIGNAL=signal)
    assert bool(told) == is_told
    if told:
        assert f"the time limit is {limit} s, and the warning to stop comes" in told[0]


@pytest.mark.parametrize("rounds", [[0, 0, 0], [1, 2, 3, 4], [1, 1, 1, 2, 2, 2, 2]], ids=str)
def test_a_job_stops_after_three_starts_in_a_row_without_a_new_checkpoint(tmp_path, rounds):
    """`rounds`: the round of the newest checkpoint at the end of each start."""
    manifest = tmp_path / "out" / "run" / "checkpoint" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    scontrol = 'scontrol() { [ "$1" = requeue ] || echo "JobState=RUNNING TimeLimit=04:00:00 x"; }'
    fruitless = 0
    reached = 0
    for start, round in enumerate(rounds):
        fruitless = fruitless + 1 if round == reached else 0
        reached = round
        checkpoint = f"""echo '"round": {round},' >{manifest}""" if round else "true"
        work = f"begin_progress out/run checkpointed_round out/run; {checkpoint}; WARNED=; again"
        own = {"SLURM_JOB_ID": "1", "SLURM_RESTART_COUNT": str(start)}
        told = in_a_job(f"{scontrol}; {work}", tmp_path, **own)
        goes_on = fruitless < 3
        assert (told == ["jobs: queued again"]) == goes_on
    assert not goes_on or len(rounds) == 4
    if not goes_on:
        assert "not queued again: three starts in a row" in told[0]
        assert "the same command goes on" in told[0]


def test_a_start_that_is_warned_within_the_first_tenth_of_its_limit_is_without_progress(tmp_path):
    """A limit of three minutes and a warning three minutes before its end leave a round or two."""
    program = (
        "begin_progress run eval 'echo $RANDOM$RANDOM'; "
        "WARNED=now; LIMIT=180; for WARNED_AFTER in 17 18 2 3 4; "
        "do third_without_progress && echo stop || echo on; done"
    )
    assert in_a_job(program, tmp_path) == ["on", "on", "on", "on", "stop"]


def test_a_count_that_slurm_writes_in_another_form_is_read(tmp_path):
    program = 'for text in 4 "2(x3)" "" 0 08 x; do number "$text" 1; done'
    assert in_a_job(program, tmp_path) == ["4", "2", "1", "1", "8", "1"]


def test_in_a_checkout_that_was_never_set_up_a_job_names_make_demo(tmp_path):
    shutil.copytree(JOBS, tmp_path / "jobs")
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    done = subprocess.run(
        ["bash", tmp_path / "jobs" / "chain.sh", "config.toml", "out"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "got none; run `make demo` in " in line
    assert str(tmp_path) in line


PBS = [
    (
        "train.pbs",
        {
            "CONFIG": "config.toml",
            "OUT": "run",
            "OPTIONS": """seed=3 'model={ name = "mlp", hidden = [64] }'""",
        },
        "run",
    ),
    pytest.param(
        "sweep.pbs",
        {"SWEEP": "sweep.toml", "PBS_ARRAY_INDEX": "1"},
        "out/seed=3",
        marks=pytest.mark.long,
    ),
]
"""what qsub is given, and the folder of the run"""


@pytest.mark.parametrize(("script", "given", "folder"), PBS)
def test_a_pbs_job_near_its_walltime_queues_itself_again_and_the_next_ends_in_the_same_bits(
    tmp_path, undisturbed, script, given, folder
):
    """No PBS is packaged for Debian: the scheduler's two commands are stand-ins, all else is as in
    a job.
    """
    (tmp_path / "config.toml").write_text(tomli_w.dumps(CONFIG))
    (tmp_path / "sweep.toml").write_text('base = "config.toml"\nout = "out"\ngrid.seed = [1, 3]\n')
    (tmp_path / "nodes").write_text("localhost\n" * 2)
    qstat = tmp_path / "qstat"
    stand_in(qstat, "echo Resource_List.walltime = 1:00:00")
    wait = f"until [ -e {tmp_path}/now ]; do /bin/sleep 0.1; done"
    stand_in(tmp_path / "sleep", f'[ "$1" != 3000 ] && exec /bin/sleep "$@"; {wait}')
    stand_in(tmp_path / "qsub", f'printf "%s\\n" "$@" >{tmp_path}/again; env -0 >{tmp_path}/env')
    with pbs(tmp_path, script, given | {"WARNING": "600"}) as first:
        until("a checkpoint", (tmp_path / folder / "checkpoint").exists)
        (tmp_path / "now").touch()
        assert (first.wait(600), first.stdout.read()[-13:]) == (75, "queued again\n")
    flag, variables, again = (tmp_path / "again").read_text().splitlines()
    exported = dict(pair.split("=", 1) for pair in (tmp_path / "env").read_text().split("\0")[:-1])
    given = {name: exported[name] for name in variables.split(",")}
    assert (flag, again, given["RESTARTS"]) == ("-v", f"{JOBS}/pbs/{script}", "1")
    stand_in(qstat, "echo Resource_List.walltime = 10:0:0")
    with pbs(tmp_path, script, given) as second:
        assert second.wait(600) == 0
    assert len(Run.open(tmp_path / folder).resumes) == 1
    assert hashes(tmp_path / folder) == undisturbed()


def stand_in(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/bash\n{line}\n")
    path.chmod(0o755)


def pbs(folder: Path, script: str, given: dict[str, str]) -> subprocess.Popen:
    """A file of jobs/pbs/ as PBS starts it."""
    own = {
        "PBS_JOBID": "1.pbs",
        "PBS_O_WORKDIR": str(folder),
        "PBS_NODEFILE": str(folder / "nodes"),
    }
    own |= {"MPIFL_JOBS": str(JOBS), "VENV": sys.prefix} | given
    known = environment("mpich", own)
    known["PATH"] = f"{folder}:{known['PATH']}"
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(["bash", JOBS / "pbs" / script], env=known, **output)


CHAINS = {
    "": [
        ("afterok:1", "hessian.sbatch out"),
        ("afterok:2", "table.sbatch out/table.md out"),
    ],
    "--rounds all --clients": [
        ("afterok:1", "hessian.sbatch out --rounds all --clients"),
        ("afterok:2", "table.sbatch out/table.md out"),
    ],
    "--follow --local-against-global": [
        ("after:1", "hessian.sbatch out --local-against-global --rounds all --follow"),
        ("afterok:1,afterany:2", "hessian.sbatch out --local-against-global --rounds all"),
        ("afterok:3", "table.sbatch out/table.md out"),
    ],
}


@pytest.mark.parametrize("measure", CHAINS)
def test_a_chain_measures_after_the_training_and_with_follow_also_beside_it(tmp_path, measure):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f'#!/bin/bash\necho "$*" >>{tmp_path}/log\ngrep -c . {tmp_path}/log\n')
    sbatch.chmod(0o755)
    own = {"MPIFL_JOBS": str(JOBS), "VENV": sys.prefix, "MEASURE": measure}
    known = environment("mpich", own)
    known["PATH"] = f"{tmp_path}:{known['PATH']}"
    words = ["bash", JOBS / "chain.sh", "config.toml", "out"]
    done = subprocess.run(words, env=known, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    _, *waiting = (tmp_path / "log").read_text().splitlines()
    assert len(waiting) == len(CHAINS[measure])
    for line, (dependency, job) in zip(waiting, CHAINS[measure], strict=True):
        assert f"--dependency={dependency} " in line
        assert line.endswith(f"/{job}")


def test_a_chain_of_a_sweep_does_not_follow(tmp_path):
    own = {"MPIFL_JOBS": str(JOBS), "VENV": sys.prefix, "MEASURE": "--follow"}
    words = ["bash", JOBS / "chain.sh", "--sweep", "sweep.toml", "table.md"]
    done = subprocess.run(words, env=environment("mpich", own), capture_output=True, text=True)
    assert done.returncode == 2
    assert "expected --follow with one run" in done.stderr

"""`python -m mpifl`, and the `mpifl` command: what happens before the commands are imported."""

import signal


def main() -> None:
    """Run the command line.

    While it is imported, Ctrl-C ends the process by SIGINT, which a shell reports as 130; it also
    ends the other ranks of a job, whose launcher notices no other end before MPI has started.
    """
    is_handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_handled:  # a process in the background may ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mpifl.cli import main as run_command

    if is_handled:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run_command()


if __name__ == "__main__":
    main()

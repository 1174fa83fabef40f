"""`stand_in.py SOCKET ARGUMENTS`: stands for a rank, a fork of `preloaded.py`, which runs `python
ARGUMENTS`.

A launcher starts it. It passes on the signals that the launcher sends, and ends as the rank does.
"""

import marshal
import os
import signal
import socket
import sys
from contextlib import suppress

SIGNALS = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)


def open_files(server: socket.socket) -> list[int]:
    """The numbers of all files that the launcher gave."""
    numbers = []
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number != server.fileno() and os.path.exists(f"/proc/self/fd/{number}"):
            numbers.append(number)
    return numbers


def ask(server: socket.socket, arguments: list[str]) -> None:
    """Ask for a rank, and leave the launcher's files to it: it shall be the last that has them."""
    numbers = open_files(server)
    request = marshal.dumps((arguments, dict(os.environb), os.getcwd(), numbers))
    socket.send_fds(server, [len(request).to_bytes(4, "little")], numbers)
    server.sendall(request)
    null = os.open(os.devnull, os.O_RDWR)
    for number in numbers:
        os.dup2(null, number)


def pass_on_signals(rank: int) -> None:
    def pass_on(number, _):
        with suppress(ProcessLookupError):
            os.kill(rank, number)

    for number in SIGNALS:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end(code: int) -> None:
    """End with an exit code; below 0, by that signal."""
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def main() -> None:
    server = socket.socket(socket.AF_UNIX)
    server.connect(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    ask(server, sys.argv[2:])
    answers = server.makefile("rb")
    pass_on_signals(int(answers.readline()))
    end(int(answers.readline()))


if __name__ == "__main__":
    main()

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

server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
numbers = []
for name in os.listdir("/proc/self/fd"):
    number = int(name)
    if number != server.fileno() and os.path.exists(f"/proc/self/fd/{number}"):
        numbers.append(number)
request = marshal.dumps((sys.argv[2:], dict(os.environb), os.getcwd(), numbers))
socket.send_fds(server, [len(request).to_bytes(4, "little")], numbers)
server.sendall(request)
# That of the rank, not of this process, shall be the last one.
null = os.open(os.devnull, os.O_RDWR)
for number in numbers:
    os.dup2(null, number)
answers = server.makefile("rb")
rank = int(answers.readline())


def pass_on(number, _):
    with suppress(ProcessLookupError):
        os.kill(rank, number)


for number in SIGNALS:
    signal.signal(number, pass_on)
signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
code = int(answers.readline())
if code < 0:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
os._exit(code)

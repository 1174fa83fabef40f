"""What requests a stop, and from when on a client is abandoned."""

from __future__ import annotations

import signal
import time
from math import inf

import pytest

from mpifl.parallel.heartbeat import Abandoned, Heartbeat
from mpifl.parallel.stop_request import StopRequest


class Told(list):
    """Counts the calls."""

    def __call__(self) -> None:
        self.append("told")


class Alone:
    rank = 0
    size = 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_requests_a_stop_and_the_others_are_told(number):
    told = Told()
    request = StopRequest(told)
    request.rounds_began = True
    with request.on_signals():
        signal.raise_signal(number)
        assert request.reason == number.name
        assert told == ["told"]


def test_an_interrupt_before_the_first_round_raises_keyboard_interrupt():
    request = StopRequest(Told())
    with request.on_signals(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert request.reason == ""


def test_a_second_interrupt_ends_the_process():
    request = StopRequest(Told())
    request.rounds_began = True
    with request.on_signals():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_the_first_reason_stays_unless_this_process_gets_a_signal_itself():
    request = StopRequest(Told())
    request.make("a signal to rank 2")
    request.make("a signal to rank 3")
    assert request.reason == "a signal to rank 2"
    with request.on_signals():
        signal.raise_signal(signal.SIGUSR1)
    assert request.reason == "SIGUSR1"
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_handlers_are_restored_but_not_for_warnings_that_come_again():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with StopRequest(Told()).on_signals():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in before} == before
    request = StopRequest(Told())
    with request.on_signals():
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # would end the process
    assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
    signal.signal(signal.SIGTERM, before[signal.SIGTERM])
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_a_client_is_abandoned_when_a_stop_was_requested_and_the_grace_is_over():
    heartbeat = Heartbeat(Alone())
    heartbeat.expect(grace=0.0, patience=0.0)
    heartbeat.check(round=1, client=2)
    heartbeat.stop("a signal")
    with pytest.raises(Abandoned):
        while True:
            heartbeat.check(round=1, client=2)
    heartbeat.expect(grace=inf, patience=0.0)
    heartbeat.check(round=1, client=2)


def test_grace_is_counted_from_the_first_request():
    request = StopRequest(Told())
    request.grace = 5.0
    before = time.monotonic()
    request.make("a signal")
    after = time.monotonic()
    assert not request.grace_is_over(before + 4.9)
    assert request.grace_is_over(after + 5.1)


def test_another_run_of_the_process_begins_without_the_request():
    request = StopRequest(Told())
    request.grace = 0.0
    request.make("a signal")
    request.forget()
    assert request.reason == ""
    assert not request.grace_is_over(time.monotonic())

"""Signals become facts, and the old handlers come back."""

import os
import signal

import pytest

from reviewpulse.stopping import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_to_stop_and_the_second_is_urgent(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.is_requested
        os.kill(os.getpid(), number)
        assert (stop.is_requested, stop.is_urgent) == (True, False)
        os.kill(os.getpid(), number)
        assert stop.is_urgent
    assert signal.getsignal(number) is before

"""Child processes that never outlive the one that started them."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | int | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, so that the terminal's Ctrl-C reaches only the parent.

    The parent stops it with `stop`. Should the parent die without a word, Linux sends the child
    death_signal (other systems have no such thing). Call it from the main thread: the kernel
    takes the death of the starting thread for the parent's.
    """
    return subprocess.Popen(
        list(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        start_new_session=True,
        preexec_fn=_die_with_parent(death_signal) if sys.platform == "linux" else None,
    )


def stop(process: subprocess.Popen[bytes], *, term_seconds: float) -> int:
    """Ask a child to stop, kill it when it has not within term_seconds, and return its exit code."""
    if process.poll() is None and term_seconds > 0:
        process.terminate()
        try:
            return process.wait(term_seconds)
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is None:
        process.kill()
    return process.wait()


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    libc = ctypes.CDLL(None)  # looked up here: the child may only make plain calls between fork and exec

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))

    return ask_kernel

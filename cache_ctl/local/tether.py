"""Start a command that dies with its parent: ``python tether.py PARENT_PID COMMAND...``.

The kernel kills the process when the thread that started it ends, however it ends. The setting
survives exec, so that the command itself needs to know nothing of it. A small process of its own
does it because code between fork and exec is not safe beside threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def command(words: tuple[str, ...]) -> list[str]:
    """Return the command that runs ``words`` tied to this process.

    ``-S -E`` leave out what starts slowly: this file needs nothing that is installed.
    """
    return [sys.executable, "-S", "-E", __file__, str(os.getpid()), *words]


def main(parent: int, command: list[str]) -> None:
    """Tie this process to its parent and become the command."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  the command is the supervisor's own


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

"""A program of its own, between this server and an MCP server that it starts: whatever ends, the whole group ends.

Run as: python -I -S holder.py FD GRACE COMMAND [ARGUMENT ...]. FD is a pipe that is closed when the MCP server has to
end, which the kernel does, too, when LLMOS is killed. stdin, stdout and stderr become the MCP server's. The exit status
is its, 128 + the signal's number where a signal ended it, 127 where it can't be started.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys


def main() -> int:
    pipe, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # The pipe alone tells the end: a signal to the terminal's group doesn't.
    try:
        child = subprocess.Popen(command, start_new_session=True, restore_signals=True, preexec_fn=_reset)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # Else nobody would see that the MCP server has closed its own.
        os.dup2(null, standard)
    _wait(child, [pipe, wake], until_pipe=pipe)
    if child.poll() is None:
        _signal(child, signal.SIGTERM)
        _wait(child, [wake], seconds=grace)
    _signal(child, signal.SIGKILL)
    status = child.wait()
    return status if status >= 0 else 128 - status


def _reset() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _wait(child: subprocess.Popen[bytes], fds: list[int], until_pipe: int = -1, seconds: float | None = None) -> None:
    """Until the child has ended, the pipe is closed or the time is up."""
    while child.poll() is None:
        ready, _, _ = select.select(fds, [], [], seconds)
        if not ready or until_pipe in ready:
            return
        os.read(fds[-1], 64)


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """To all of its group: after its own end, too, for what it leaves behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    sys.exit(main())

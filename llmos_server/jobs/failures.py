"""What becomes of a job whose code raised: whether another attempt may help, and what its owner is told."""

from __future__ import annotations

import errno

from llmos_server.errors import EngineBusy, LLMOSError, RateLimited, StorageFull, StoreUnavailable
from llmos_server.job_contracts import JobError, JobFailed, RunLost

TRANSIENT = (EngineBusy, StoreUnavailable, RateLimited, RunLost)
"""A later attempt may succeed."""
UNKNOWN = "internal_error"
"""The code of errors that nobody foresaw."""
FULL_TEXTS = ("No space left on device", "os error 28", "PytorchStreamWriter failed writing", "Disk quota exceeded")
"""How libraries say it that don't raise OSError."""


def describe(error: BaseException) -> JobError:
    """Of an error that isn't TRANSIENT."""
    if is_disk_full(error):
        return JobError(
            "disk_full",
            "The server's disk is full. What the job has done up to its last checkpoint is kept; free space, and make "
            "it anew.",
        )
    if isinstance(error, JobFailed):
        return JobError(error.code, str(error), error.param)
    if isinstance(error, LLMOSError):
        code = getattr(error, "code", None) or "job_failed"
        return JobError(code, str(error), getattr(error, "param", None))
    if isinstance(error, MemoryError):
        return JobError("out_of_memory", f"The job needs more memory than there is: {error}")
    return JobError(UNKNOWN, f"{type(error).__name__}: {error}. The job's log tells more.")


def is_disk_full(error: BaseException) -> bool:
    """It, or what it came from."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        if isinstance(current, StorageFull) or getattr(current, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(text in str(current) for text in FULL_TEXTS):
            return True
        current = current.__cause__ or current.__context__
    return False

"""Domain errors. api/errors.py alone knows which HTTP status each becomes."""

from __future__ import annotations


class LLMOSError(Exception):
    """Base of all; str(error) is fit for the user and says what to do next."""


class InvalidRequest(LLMOSError):
    """The client asked for something that can't be done. `param` is the field's path, `code` a stable word."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ModelNotFound(LLMOSError):
    """No served model has this name. remedy: the part of the message that says what to do next."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class PullError(LLMOSError):
    """A model could not be fetched or imported."""


class PullCancelled(PullError):
    """Somebody wanted it to end."""


class UnsupportedModel(LLMOSError):
    """The checkpoint can be read but not served (architecture, tensor type, tokenizer)."""


class ModelFault(LLMOSError):
    """The model computed something that is no number. The same request would end the same way."""


class SettingsError(LLMOSError):
    """config.toml, the environment or a flag holds something that can't be used."""


class EngineBusy(LLMOSError):
    """The engine can't take the request now (loading too long, restarting, queue full). Worth a retry."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TextBusy(LLMOSError):
    """Too many long texts wait to be rendered or tokenised. Worth a retry."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineFailed(LLMOSError):
    """The engine died under the request, or could not load its model. retry_after: None where a retry is no use."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unauthorized(LLMOSError):
    """A key is asked for, and none that is known came along."""


class Forbidden(LLMOSError):
    """The key is known, but isn't allowed to do this. `code` is a stable word."""

    def __init__(self, message: str, *, param: str | None = None, code: str) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class StoreUnavailable(LLMOSError):
    """The database can't be used, now or by this version."""


class StorageFull(LLMOSError):
    """The disk takes no more of what a client wants kept."""


class RateLimited(LLMOSError):
    """The key uses as much as it may. headers: how much that is, for the client."""

    def __init__(self, message: str, *, retry_after: float, headers: dict[str, str]) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.headers = headers


class PluginFailed(LLMOSError):
    """A plugin raised, took too long or answered what it may not. retry_after: None where a retry is no use."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AgentTimedOut(LLMOSError):
    """The turns and tools of one answer took longer than they may together."""


class KernelsUnavailable(LLMOSError):
    """The compiled kernels can't be had, or can't compute this model. The exact ones can stand in."""

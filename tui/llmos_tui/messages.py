"""The contract between what fetches and what draws. What nobody has drawn yet is replaced by what is newer."""

from __future__ import annotations

from textual.message import Message

from llmos_tui.wire.jobs import JobDetails, JobList
from llmos_tui.wire.keys import KeyList
from llmos_tui.wire.live import InFlightList, Overview, PageMap
from llmos_tui.wire.skills import SkillList


class Latest(Message):
    """Tells the whole state: of several that wait, only the last one counts."""

    def can_replace(self, message: Message) -> bool:
        return type(message) is type(self)


class OverviewArrived(Latest):
    """A new view of the whole server."""

    def __init__(self, overview: Overview) -> None:
        self.overview = overview
        super().__init__()


class RequestsArrived(Latest):
    """The requests in flight."""

    def __init__(self, requests: InFlightList) -> None:
        self.requests = requests
        super().__init__()


class PagesArrived(Latest):
    """The page map of one model, by the name that it was asked for."""

    def __init__(self, model: str, pages: PageMap) -> None:
        self.model, self.pages = model, pages
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, PagesArrived) and message.model == self.model


class FeedRefused(Message):
    """A feed that the server doesn't give; it isn't tried again until the screen is shown anew."""

    def __init__(self, kind: object, reason: str) -> None:
        """kind: what makes the feed's messages, its class mostly."""
        self.kind, self.reason = kind, reason
        super().__init__()


class LogGrew(Latest):
    """There are new lines."""


class KeysArrived(Latest):
    """All keys."""

    def __init__(self, keys: KeyList) -> None:
        self.keys = keys
        super().__init__()


class JobsArrived(Latest):
    """All jobs."""

    def __init__(self, jobs: JobList) -> None:
        self.jobs = jobs
        super().__init__()


class JobArrived(Latest):
    """One job, with its log."""

    def __init__(self, job: JobDetails) -> None:
        self.job = job
        super().__init__()


class RunArrived(Latest):
    """One of the tuning runs that are followed, with its figures."""

    def __init__(self, job: JobDetails) -> None:
        self.job = job
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunArrived) and message.job.id == self.job.id


class SkillsArrived(Latest):
    """All skills."""

    def __init__(self, skills: SkillList) -> None:
        self.skills = skills
        super().__init__()

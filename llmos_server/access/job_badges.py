"""What a job's process shows to be let in: for its owner, as long as it runs, from this machine alone."""

from __future__ import annotations

import secrets

PREFIX = "llmos-job-"


class JobBadges:
    """In the memory of the server that runs the jobs: a restart begins them anew, with others."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def issue(self, owner: str) -> str:
        badge = f"{PREFIX}{secrets.token_urlsafe(32)}"
        self._owners[badge] = owner
        return badge

    def withdraw(self, badge: str) -> None:
        self._owners.pop(badge, None)

    def owner_of(self, badge: str) -> str | None:
        """None: it isn't one, or no more."""
        return self._owners.get(badge)

"""The tables. A change here needs a migration; a test compares both."""

from __future__ import annotations

from advanced_alchemy.base import DefaultBase
from sqlalchemy import JSON, BigInteger, Boolean, Float, Index, Integer, MetaData, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

ID_LENGTH = 32
_LIVING = text("revoked IS NULL")


class Owned:
    """Rows of users. Whoever reads them says whose; see owners.py."""

    owner: Mapped[str] = mapped_column(String(ID_LENGTH))
    """The id of the key that made it; "" is somebody without a key, or the administrator of the machine."""


class Key(DefaultBase):
    """Never deleted: usage refers to it, and a server that ever had a key stays closed. Times in Unix seconds."""

    __tablename__ = "keys"
    __table_args__ = (
        Index("ux_keys_living_name", "name", unique=True, sqlite_where=_LIVING, postgresql_where=_LIVING),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    secret_hash: Mapped[str] = mapped_column(String(64))
    is_admin: Mapped[bool] = mapped_column(Boolean)
    models: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    skills: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    tools: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    max_in_flight: Mapped[int | None] = mapped_column(Integer)
    tokens_per_minute: Mapped[int | None] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)
    revoked: Mapped[int | None] = mapped_column(BigInteger)
    last_used: Mapped[int | None] = mapped_column(BigInteger)


class Usage(Owned, DefaultBase):
    """The ledger: one row a request that reached an engine."""

    __tablename__ = "usage"
    __table_args__ = (
        Index("ix_usage_owner_created", "owner", "created"),
        Index("ix_usage_created", "created"),
        Index("ix_usage_request_id", "request_id"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    """Made when the row is booked, so that a batch that is written twice is there once."""
    request_id: Mapped[str] = mapped_column(String(128))
    """X-Request-Id; clients may choose it, so it need not be unique."""
    model: Mapped[str] = mapped_column(Text)
    endpoint: Mapped[str] = mapped_column(String(128))
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    completion_tokens: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Float(53))
    queue_seconds: Mapped[float | None] = mapped_column(Float(53))
    status: Mapped[str] = mapped_column(String(16))
    created: Mapped[int] = mapped_column(BigInteger)
    """Unix milliseconds of the request's end."""


class UsageRemoval(DefaultBase):
    """One row, from the first time that old usage was removed."""

    __tablename__ = "usage_removal"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """1."""
    before: Mapped[int] = mapped_column(BigInteger)
    """Unix milliseconds: of no time before are there all rows any more."""
    num_rows: Mapped[int] = mapped_column(BigInteger)


class SkillScoreRow(DefaultBase):
    """What a skill was measured at: everybody's, as the skill is."""

    __tablename__ = "skill_scores"
    __table_args__ = (Index("ix_skill_scores_latest", "skill", "version", "model_digest", "created"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    skill: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(Text)
    model_digest: Mapped[str] = mapped_column(Text)
    metric: Mapped[str] = mapped_column(String(64))
    score: Mapped[float] = mapped_column(Float(53))
    figures: Mapped[dict[str, float]] = mapped_column(JSON)
    num_cases: Mapped[int] = mapped_column(Integer)
    num_failed: Mapped[int] = mapped_column(Integer)
    created: Mapped[int] = mapped_column(BigInteger)
    """Unix milliseconds."""


class PinnedModel(DefaultBase):
    """A model that an administrator has pinned while the server ran."""

    __tablename__ = "pinned_models"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    created: Mapped[int] = mapped_column(BigInteger)
    """Unix milliseconds."""


class DisabledSkill(DefaultBase):
    """A skill that an administrator has disabled."""

    __tablename__ = "disabled_skills"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    created: Mapped[int] = mapped_column(BigInteger)
    """Unix milliseconds."""


METADATA: MetaData = DefaultBase.metadata

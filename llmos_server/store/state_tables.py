"""The tables of what clients have stored: responses, conversations with items, feedback. Content is JSON as text."""

from __future__ import annotations

from advanced_alchemy.base import DefaultBase
from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, Integer, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from llmos_server.store.tables import ID_LENGTH, Owned

MAX_ID_LENGTH = 64
"""Of objects: a prefix of their kind, and 32 hexadecimal digits. Clients may choose items' ids."""
_UNFINISHED = text("runner IS NOT NULL")


class ResponseRow(Owned, DefaultBase):
    """A key's own by its very primary key: no id leads to another owner's row."""

    __tablename__ = "responses"
    __table_args__ = (
        Index("ix_responses_owner_previous_id", "owner", "previous_id"),
        Index("ix_responses_created", "created"),
        Index("ix_responses_owner_created", "owner", "created", "id"),
        Index("ix_responses_owner_num_bytes", "owner", "num_bytes"),
        Index("ix_responses_runner", "runner", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
    )

    owner: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    previous_id: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH))
    runner: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    """The server that works on it; none when it is finished."""
    response: Mapped[str] = mapped_column(Text)
    input_items: Mapped[str] = mapped_column(Text)
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    """Of both, and of events."""
    created: Mapped[int] = mapped_column(BigInteger)
    """Unix milliseconds."""
    events: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Of one that was made in the background: what its stream told before the last event, compressed."""


class ConversationRow(Owned, DefaultBase):
    __tablename__ = "conversations"
    __table_args__ = (
        Index("ix_conversations_changed", "changed"),
        Index("ix_conversations_owner_created", "owner", "created", "id"),
        Index("ix_conversations_owner_num_bytes", "owner", "num_bytes"),
    )

    owner: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    pairs: Mapped[str] = mapped_column(Text)
    """Its metadata; SQLAlchemy keeps that name for itself."""
    num_items: Mapped[int] = mapped_column(Integer)
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    """Of its metadata and items."""
    next_position: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)
    changed: Mapped[int] = mapped_column(BigInteger)
    """Unix milliseconds, as created: when it, or an item, was last added, changed or taken away."""


class ConversationItemRow(Owned, DefaultBase):
    """Goes with its conversation."""

    __tablename__ = "conversation_items"
    __table_args__ = (
        ForeignKeyConstraint(
            ["owner", "conversation_id"],
            ["conversations.owner", "conversations.id"],
            name="fk_conversation_items_conversation",
            ondelete="CASCADE",
        ),
        Index("ux_conversation_items_position", "owner", "conversation_id", "position", unique=True),
    )

    owner: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    item: Mapped[str] = mapped_column(Text)
    num_bytes: Mapped[int] = mapped_column(BigInteger)


class FeedbackRow(Owned, DefaultBase):
    """What somebody said about an answer."""

    __tablename__ = "feedback"
    __table_args__ = (
        Index("ix_feedback_created", "created", "id"),
        Index("ix_feedback_owner_num_bytes", "owner", "num_bytes"),
    )

    owner: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    model: Mapped[str] = mapped_column(Text)
    rating: Mapped[int | None] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(Text)
    """All of it, model and rating included."""
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)
    """Unix milliseconds."""

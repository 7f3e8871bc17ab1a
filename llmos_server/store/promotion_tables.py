"""The table of promotions: which version answers to a name of applications', and what did before."""

from __future__ import annotations

from advanced_alchemy.base import DefaultBase
from sqlalchemy import BigInteger, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from llmos_server.store.tables import ID_LENGTH


class PromotionRow(DefaultBase):
    """One change of an alias; that with the highest number holds."""

    __tablename__ = "promotions"
    __table_args__ = (Index("ix_promotions_digest", "digest"),)

    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    action: Mapped[str] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(Text)
    """What answers: a model's name, or an adapter's."""
    adapter: Mapped[str] = mapped_column(Text)
    """The AdapterVersion as JSON, so that it answers whatever becomes of its name; "" for a model."""
    digest: Mapped[str] = mapped_column(String(80))
    """The adapter's, else the model's when it was promoted."""
    maker: Mapped[str] = mapped_column(String(ID_LENGTH))
    """The key whose adapter it is, or "": with that key's data it goes."""
    previous: Mapped[int | None] = mapped_column(Integer)
    """The number of what answered before, and does again after a rollback."""
    made_by: Mapped[str] = mapped_column(String(ID_LENGTH))
    """The key of the administrator; "" is the machine's."""
    created: Mapped[int] = mapped_column(BigInteger)
    """Unix seconds."""

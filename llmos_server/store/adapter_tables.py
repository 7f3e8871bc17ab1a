"""The table of adapters. Their weights lie in LLMOS_HOME/adapters; see registry/adapter_folders.py."""

from __future__ import annotations

from advanced_alchemy.base import DefaultBase
from sqlalchemy import BigInteger, Boolean, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from llmos_server.store.state_tables import MAX_ID_LENGTH
from llmos_server.store.tables import ID_LENGTH, Owned


class AdapterRow(Owned, DefaultBase):
    """A name that a key has given; another key may have given it to something else."""

    __tablename__ = "adapters"
    __table_args__ = (Index("ix_adapters_name", "name"), Index("ix_adapters_digest", "digest"))

    owner: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    base: Mapped[str] = mapped_column(Text)
    base_digest: Mapped[str] = mapped_column(String(71))
    digest: Mapped[str] = mapped_column(String(71))
    """Both "sha256:" and 64 hexadecimal digits."""
    rank: Mapped[int] = mapped_column(Integer)
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    is_shared: Mapped[bool] = mapped_column(Boolean)
    job_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    created: Mapped[int] = mapped_column(BigInteger)
    """Unix seconds."""

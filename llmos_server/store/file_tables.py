"""The table of uploaded files. Their content lies in LLMOS_HOME/files; see files/folder.py."""

from __future__ import annotations

from advanced_alchemy.base import DefaultBase
from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from llmos_server.store.state_tables import MAX_ID_LENGTH
from llmos_server.store.tables import ID_LENGTH, Owned

MAX_FILENAME_LENGTH = 255


class FileRow(Owned, DefaultBase):
    """A key's own by its very primary key."""

    __tablename__ = "files"
    __table_args__ = (
        Index("ix_files_owner_created", "owner", "created", "id"),
        Index("ix_files_owner_num_bytes", "owner", "num_bytes"),
        Index("ix_files_expires", "expires"),
    )

    owner: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    filename: Mapped[str] = mapped_column(String(MAX_FILENAME_LENGTH))
    purpose: Mapped[str] = mapped_column(String(32))
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(71))
    """"sha256:" and 64 hexadecimal digits, of the content."""
    created: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int | None] = mapped_column(BigInteger)
    """Unix milliseconds, both."""

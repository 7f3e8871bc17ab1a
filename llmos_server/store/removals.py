"""What is removed from the usage ledger for its age, everybody's alike, and the note that it was."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from llmos_server.store.database import Database
from llmos_server.store.tables import Usage, UsageRemoval


class UsageRemovals:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def remove_before(self, created: int, limit: int) -> int:
        """The oldest rows from before that Unix millisecond, at most `limit` of them; how many went."""
        oldest = select(Usage.id).where(Usage.created < created).order_by(Usage.created).limit(limit)
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        async with self._database.write() as connection:
            ids = (await connection.execute(oldest)).scalars().all()
            if ids:
                await connection.execute(delete(Usage).where(Usage.id.in_(ids)))
                note = insert(UsageRemoval).values(id=1, before=created, num_rows=len(ids))
                sums = {"before": note.excluded.before, "num_rows": UsageRemoval.num_rows + note.excluded.num_rows}
                await connection.execute(note.on_conflict_do_update(index_elements=["id"], set_=sums))
        return len(ids)

    async def removed_before(self) -> int:
        """Unix milliseconds; 0 while no row was removed for its age."""
        row = await self._database.first(select(UsageRemoval.before))
        return 0 if row is None else int(row.before)

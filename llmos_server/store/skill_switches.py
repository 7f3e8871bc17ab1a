"""Which skills an administrator has disabled: in the database, and remembered for who can't wait."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from llmos_server.store.database import Database
from llmos_server.store.objects import now_milliseconds
from llmos_server.store.tables import DisabledSkill

_ONE = select(DisabledSkill.name).where(DisabledSkill.name == bindparam("name"))


class SkillSwitchRepository:
    """Other servers on the same database change it, too: what is remembered is as old as the last refresh()."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._disabled: frozenset[str] = frozenset()

    def was_disabled(self, name: str) -> bool:
        """As far as it is remembered."""
        return name in self._disabled

    async def is_disabled(self, name: str) -> bool:
        """As the database has it now. Raises StoreUnavailable."""
        is_disabled = await self._database.first(_ONE, {"name": name}) is not None
        self._remember(name, is_disabled)
        return is_disabled

    async def refresh(self) -> frozenset[str]:
        """All that are disabled. Raises StoreUnavailable."""
        async with self._database.read() as connection:
            self._disabled = frozenset((await connection.execute(select(DisabledSkill.name))).scalars())
        return self._disabled

    async def disable(self, name: str) -> None:
        """Raises StoreUnavailable."""
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        row = insert(DisabledSkill).values(name=name, created=now_milliseconds()).on_conflict_do_nothing()
        async with self._database.write() as connection:
            await connection.execute(row)
        self._remember(name, is_disabled=True)

    async def enable(self, name: str) -> None:
        """Raises StoreUnavailable."""
        async with self._database.write() as connection:
            await connection.execute(delete(DisabledSkill).where(DisabledSkill.name == name))
        self._remember(name, is_disabled=False)

    def _remember(self, name: str, is_disabled: bool) -> None:
        self._disabled = self._disabled | {name} if is_disabled else self._disabled - {name}

"""What skills were measured at. Nothing is ever changed: a new evaluation is a new row."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import bindparam, insert, select

from llmos_server.skill_contracts import SkillScore
from llmos_server.store.database import Database
from llmos_server.store.tables import SkillScoreRow

_COLUMNS = [getattr(SkillScoreRow, name) for name in SkillScore.__struct_fields__]
_NEWEST = (SkillScoreRow.created.desc(), SkillScoreRow.id.desc())
_LATEST = (
    select(*_COLUMNS)
    .where(
        SkillScoreRow.skill == bindparam("skill"),
        SkillScoreRow.version == bindparam("version"),
        SkillScoreRow.model_digest == bindparam("model_digest"),
    )
    .order_by(*_NEWEST)
    .limit(1)
)


class SkillScoreRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, score: SkillScore) -> None:
        async with self._database.write() as connection:
            await connection.execute(insert(SkillScoreRow).values(**msgspec.structs.asdict(score)))

    async def latest(self, skill: str, version: str, model_digest: str) -> SkillScore | None:
        """Asked at every run."""
        values = {"skill": skill, "version": version, "model_digest": model_digest}
        row = await self._database.first(_LATEST, values)
        return None if row is None else _to_score(row)

    async def list(self, skill: str, limit: int) -> list[SkillScore]:
        """The newest first."""
        query = select(*_COLUMNS).where(SkillScoreRow.skill == skill).order_by(*_NEWEST).limit(limit)
        async with self._database.read() as connection:
            return [_to_score(row) for row in (await connection.execute(query)).all()]


def _to_score(row: Any) -> SkillScore:
    return SkillScore(**row._mapping)

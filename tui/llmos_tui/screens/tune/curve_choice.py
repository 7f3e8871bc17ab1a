"""Which runs' curves are shown, in which colours, and of what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmos_tui.widgets.curves import NUM_COLOURS, Curve
from llmos_tui.wire.jobs import JobDetails

FIRST_METRIC = "loss"


class CurveChoice:
    """Those that are marked, and the one with the cursor in the last colour."""

    def __init__(self) -> None:
        self.colours: dict[str, int] = {}
        """Id -> colour, of those that are marked, in the order of marking."""
        self._pointed: str | None = None
        self._metric = FIRST_METRIC
        self._told: dict[str, JobDetails] = {}

    @property
    def followed(self) -> list[str]:
        """Whose figures are wanted; what is pointed at comes last."""
        pointed = [self._pointed] if self._pointed is not None and self._pointed not in self.colours else []
        return [*self.colours, *pointed]

    @property
    def metrics(self) -> list[str]:
        """That any of these runs tells."""
        told = [self._told[id].metrics for id in self.followed if id in self._told]
        return list(dict.fromkeys(name for metrics in told for name in metrics))

    @property
    def metric(self) -> str:
        known = self.metrics
        return self._metric if self._metric in known or not known else known[0]

    def point(self, id: str | None) -> bool:
        """Whether other runs are to be followed now."""
        before = self.followed
        self._pointed = id
        return self.followed != before

    def turn(self, id: str) -> bool:
        """Marks it, or takes its mark away; False where no colour is left."""
        if id in self.colours:
            del self.colours[id]
            return True
        free = [colour for colour in range(NUM_COLOURS - 1) if colour not in self.colours.values()]
        if free:
            self.colours[id] = free[0]
        return bool(free)

    def keep_only(self, ids: Iterable[str]) -> None:
        kept = set(ids)
        self.colours = {id: colour for id, colour in self.colours.items() if id in kept}
        self._told = {id: job for id, job in self._told.items() if id in kept}

    def tell(self, job: JobDetails) -> None:
        self._told[job.id] = job

    def details(self, id: str) -> JobDetails | None:
        return self._told.get(id)

    def next_metric(self) -> None:
        known = self.metrics
        if known:
            self._metric = known[(known.index(self.metric) + 1) % len(known)]

    def curves(self, names: Mapping[str, str]) -> list[Curve]:
        """Of the metric that was chosen."""
        found = []
        for id in self.followed:
            points = self._told[id].metrics.get(self.metric, []) if id in self._told else []
            found.append(Curve(names.get(id) or id, points, self.colours.get(id, NUM_COLOURS - 1)))
        return found

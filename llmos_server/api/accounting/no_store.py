"""What stands for the usage ledger where there is no database."""

from __future__ import annotations

from llmos_server.key_contracts import UsageRow


class NoLedger:
    num_pending = 0
    num_written = 0
    num_dropped = 0
    is_failing = False

    def book(self, row: UsageRow) -> None:
        """Usage is counted in the metrics only."""

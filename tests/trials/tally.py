"""What became of trials: one row for each kind of them, and the seeds of those that failed."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of one trial kind, by row: a mode, an option, a limit."""

    kind: str
    seed: int
    failures: list[tuple[int, str, str]] = field(default_factory=list)  # number, row, why
    tried: Counter[str] = field(default_factory=Counter)  # trials by row
    noted: dict[str, Counter[str]] = field(default_factory=dict)  # row -> what else was counted

    def add(self, number: int, row: str, why: str = "", **counts: int) -> None:
        """Note a trial; `why` says what is wrong, in words, and is empty where it passed."""
        self.tried[row] += 1
        self.noted.setdefault(row, Counter()).update(counts)
        if why:
            self.failures.append((number, row, why))
        dot = "F" if why else "."
        print(f"{dot} {self.kind} {number} {row}{': ' + why if why else ''}", file=sys.stderr, flush=True)

    def merge(self, other: Tally) -> None:
        """Add what another process counted."""
        self.failures += other.failures
        for row, n in other.tried.items():
            self.tried[row] += n
            self.noted.setdefault(row, Counter()).update(other.noted[row])

    @property
    def failed(self) -> Counter[str]:
        return Counter(row for _, row, _ in self.failures)

    def table(self) -> str:
        """Markdown, as docs/reliability.md has it; below it the numbers that repeat a failure."""
        more = list(dict.fromkeys(name for counts in self.noted.values() for name in counts))
        heads = [self.kind, "tried", "passed", "failed", *more]
        rows = [
            [row, n, n - self.failed[row], self.failed[row], *self._counts(row, more)] for row, n in self.tried.items()
        ]
        total = [sum(row[i] for row in rows) for i in range(1, len(heads))]
        lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows, ["**all**", *total]]
        table = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        again = [
            f"failed: {row}: {why}\n    python -m tests.trials {self.kind} --seed {self.seed} --only {number}"
            for number, row, why in self.failures
        ]
        return "\n".join([table, *again])

    def _counts(self, row: str, names: list[str]) -> list[int]:
        return [self.noted[row][name] for name in names]

"""The frontier again, recomputed from scratch at each question: slow, plain, and right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

State = Literal["pending", "ready", "running", "success", "failed", "blocked"]


class NaiveFrontier:
    """Keeps only what happened to each node, and the queue as a list."""

    def __init__(self, parents: Mapping[int, Sequence[int]]) -> None:
        self.parents = parents
        self.happened: dict[int, Literal["running", "success", "failed", "deferred"]] = {}
        self.queue = [node for node in sorted(parents) if not parents[node]]

    def state(self, node: int) -> State:
        happened = self.happened.get(node)
        if happened == "deferred":
            return "pending"
        if happened is not None:
            return happened
        if self.is_below_a_failure(node):
            return "blocked"
        return "ready" if self.is_free(node) else "pending"

    def is_free(self, node: int) -> bool:
        return all(self.happened.get(p) == "success" for p in self.parents[node])

    def is_below_a_failure(self, node: int) -> bool:
        return any(
            self.happened.get(p) == "failed" or self.is_below_a_failure(p)
            for p in self.parents[node]
        )

    def states(self) -> list[State]:
        return [self.state(node) for node in sorted(self.parents)]

    def changed(self, before: list[State], to: State) -> set[int]:
        after = self.states()
        return {n for n in range(len(after)) if before[n] != after[n] == to}

    def take(self, limit: int) -> list[int]:
        taken, self.queue = self.queue[:limit], self.queue[limit:]
        for node in taken:
            self.happened[node] = "running"
        return taken

    def claim(self, node: int) -> None:
        self.queue.remove(node)
        self.happened[node] = "running"

    def done(self, node: int) -> list[int]:
        return self.done_many([node])

    def done_many(self, nodes: Sequence[int]) -> list[int]:
        before = self.states()
        self.happened |= dict.fromkeys(nodes, "success")
        released = sorted(self.changed(before, "ready"))
        self.queue += released
        return released

    def fail(self, node: int) -> set[int]:
        before = self.states()
        self.happened[node] = "failed"
        return self.changed(before, "blocked")

    def retry(self, node: int) -> set[int]:
        before = self.states()
        del self.happened[node]
        self.queue.append(node)
        return self.changed(before, "pending")

    def defer(self, node: int) -> None:
        self.happened[node] = "deferred"

    def requeue(self, node: int) -> None:
        del self.happened[node]
        self.queue.append(node)

    def is_over(self) -> bool:
        return not self.queue and not {"running", "deferred"} & set(self.happened.values())

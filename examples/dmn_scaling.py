"""A policy as a table: asked by an event, explained, changed, compared, and rolled back.

    python examples/dmn_scaling.py

Needs the extra dmn, for the policy in YAML that comes with federlib.
"""

import random
import tempfile
import time
from pathlib import Path

import msgspec

from federlib.dmn import (
    DirectoryShelf,
    EventDecisions,
    VersionStore,
    analyse,
    compile_model,
    diff_models,
    dump_json,
    encode_made,
    parse_model,
    replay,
)
from federlib.dmn.policies import load_mapping, load_policy
from federlib.dmn.render import render_text

REQUEST = {
    "request_id": "r-17",
    "leader_epoch": 3,
    "pool": {
        "queue_depth": 50,
        "workers": 4,
        "min_workers": 1,
        "max_workers": 10,
        "cpu_percent": 62.5,
        "seconds_since_change": 300,
    },
}


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = VersionStore(DirectoryShelf(Path(directory)))
        store.publish("scaling", load_policy("scaling"), at_ns=time.time_ns(), by="ana")
        model = compile_model(store.load("scaling"))
        print(render_text(model.definitions.decisions[-1], width=110))
        for found in analyse(model):
            print(f"{found.element}: {len(found.gaps)} gaps, {len(found.unreachable)} dead rules")

        # scaling.decision.requested comes in, decision.made goes out.
        decisions = EventDecisions(model, load_mapping("scaling"))
        made = decisions.answer(REQUEST, now_ns=time.time_ns())
        assert made.decision.outputs == {"action": "scale_up", "delta": 2}
        assert made.decision.matched == ("long-queue",)
        print(f"{made.decision_id}: {made.decision.outputs}, by rule {made.decision.matched[0]}")
        print(f"decision.made has {len(encode_made(made)):,} bytes, with its trace")

        # Somebody thinks that ten tasks a worker are not much.
        text = dump_json(model.definitions).replace(b'"> 10"', b'"> 20"')
        newer = msgspec.structs.replace(parse_model(text, "json"), version="2")
        draw = random.Random(1).randrange  # noqa: S311 (chance need not be secret)
        changed = diff_models(model, compile_model(newer), draw=draw, most=3000)
        for change in changed.changes:
            print(f"{change.what} rule {change.rule}: {change.before}  ->  {change.after}")
        for each in changed.differences:
            print(f"{each.facts}: {each.before} -> {each.after}")
        assert changed.differences

        store.publish("scaling", newer, at_ns=time.time_ns(), by="ben", note="calmer")
        again = replay(made.decision, compile_model(store.load("scaling")))
        assert again.is_different
        print(f"version 2 on the request of before: {again.now.outputs}; {again.reasons[-1]}")

        store.roll_back("scaling", at_ns=time.time_ns(), by="ana", note="the queue grew")
        assert store.load("scaling").version == "1"
        for done in store.history("scaling").changes:
            print(f"{done.kind:10} version {done.number} decides; {done.by}: {done.note}")


if __name__ == "__main__":
    main()

"""Of the controller's log, the API server's audit log and the table of steps: for each tenant a line "READY CHAIN SUM STEP>STEP>...", milliseconds.

    chain.py LOG AUDIT TABLE LEAVE-OUT

READY runs from the creation's answer to that of the last write of the tenant's status. CHAIN is the longest path through the steps by
what each needs, SUM all of them; a step that ran more than once counts with the time of all its runs.
"""

import collections
import json
import pathlib
import re
import sys
from datetime import datetime


def read_table(path: str) -> dict[str, list[str]]:
    text = pathlib.Path(path).read_text()
    steps = re.findall(r"\{\s*\.name = \"(\w+)\",(.*?)\n    \}", text, re.DOTALL)
    return {name: re.findall(r"\"(\w+)\"", "".join(re.findall(r"\.needs = \{(.*?)\}", body, re.DOTALL))) for name, body in steps}


def read_steps(path: str) -> dict[str, collections.Counter]:
    took: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for line in pathlib.Path(path).read_text().splitlines():
        if '"step done"' in line or '"step failed"' in line:
            entry = json.loads(line)
            took[entry["tenant"]][entry["step"]] += entry["duration_ms"]
    return took


def read_times(path: str) -> dict[str, float]:
    created, written = {}, {}
    for line in pathlib.Path(path).read_text().splitlines():
        entry = json.loads(line)
        what = entry.get("objectRef", {})
        if what.get("resource") != "tenants" or entry["verb"] not in ("create", "patch") or entry["responseStatus"]["code"] >= 300:
            continue
        at = datetime.fromisoformat(entry["stageTimestamp"].replace("Z", "+00:00")).timestamp()
        if entry["verb"] == "create":
            created[what["name"]] = at
        elif what.get("subresource") == "status":
            written[what["name"]] = at
    return {name: 1000 * (written[name] - at) for name, at in created.items() if name in written}


def longest(table: dict[str, list[str]], took: collections.Counter) -> tuple[int, list[str]]:
    known: dict[str, tuple[int, list[str]]] = {}

    def until(step: str) -> tuple[int, list[str]]:
        if step not in known:
            before = max((until(need) for need in table[step]), default=(0, []), key=lambda path: path[0])
            known[step] = (before[0] + took[step], before[1] + [step])
        return known[step]

    return max((until(step) for step in table), key=lambda path: path[0])


def main() -> None:
    table = read_table(sys.argv[3])
    took = read_steps(sys.argv[1])
    for name, ready in sorted(read_times(sys.argv[2]).items()):
        if name != sys.argv[4] and name in took:
            chain, steps = longest(table, took[name])
            print(f"{ready:.1f} {chain} {sum(took[name].values())} {'>'.join(steps)}")


main()

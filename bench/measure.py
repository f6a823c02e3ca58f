"""Apply-to-Ready beside the raw loop. Reads its CONFIG, which bench/run writes, and prints the results as a table and, with "json" in
CONFIG, into a file.

Ours is measured by a client as any other: it creates Tenants and watches them; the time of a tenant runs from before its creation is sent until the
event arrives that says Ready of the spec as it is.
"""

import json
import os
import pathlib
import signal
import ssl
import statistics
import subprocess
import sys
import threading
import time
import http.client

TENANTS = "/apis/tenantry.dev/v1alpha1/tenants"
PATIENCE_S = 600
MADE_BEFORE = 2  # to warm up, and to record


class Client:
    def __init__(self, config: dict) -> None:
        self.config = config
        self.lock = threading.Condition()
        self.ready: dict[str, float] = {}
        self.watching = threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()
        if not self.watching.wait(30):
            sys.exit("measure.py: the watch did not begin")

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=self.config["ca"])
        context.load_cert_chain(self.config["admin_cert"], self.config["admin_key"])
        host, port = self.config["api"].removeprefix("https://").split(":")
        return http.client.HTTPSConnection(host, int(port), context=context)

    def watch(self) -> None:
        while True:
            connection = self.connect()
            connection.request("GET", TENANTS + "?watch=1&allowWatchBookmarks=true")
            answer = connection.getresponse()
            self.watching.set()
            while line := answer.readline():
                at = time.monotonic()
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED") and is_ready(event["object"]):
                    with self.lock:
                        self.ready.setdefault(event["object"]["metadata"]["name"], at)
                        self.lock.notify_all()

    def reconnect(self) -> None:
        """The server ends a connection on which nothing was asked for 90 s."""
        self.connection = self.connect()
        self.connection.connect()

    def create(self, name: str) -> float:
        body = self.config["tenant"].replace(self.config["recorded_name"], name)
        at = time.monotonic()
        self.connection.request("POST", TENANTS, body=body, headers={"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 201:
            sys.exit(f"measure.py: creating {name}: {answer.status} {text.decode()}")
        return at

    def wait(self, names: list[str]) -> dict[str, float]:
        with self.lock:
            if not self.lock.wait_for(lambda: all(name in self.ready for name in names), PATIENCE_S):
                missing = [name for name in names if name not in self.ready]
                sys.exit(f"measure.py: not Ready after {PATIENCE_S} s: {missing[:10]}")
            return {name: self.ready[name] for name in names}


def is_ready(tenant: dict) -> bool:
    generation = tenant["metadata"]["generation"]
    status = tenant.get("status", {})
    return status.get("observedGeneration") == generation and any(
        condition["type"] == "Ready" and condition["status"] == "True" and condition.get("observedGeneration") == generation
        for condition in status.get("conditions", [])
    )


class Bench:
    def __init__(self, config: dict) -> None:
        self.config = config
        self.client = Client(config)
        self.serial = 0
        self.filled: list[dict] = []  # what the loop said of each tenant that was filled in
        self.postmaster = int(self.ask("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")[0])
        self.wal_kb_each = 0.0
        self.kb_at_first = self.disk_kb()

    def names(self, prefix: str, count: int) -> list[str]:
        first = self.serial
        self.serial += count
        return [f"{prefix}{number:05d}" for number in range(first, first + count)]

    def ours(self, count: int) -> tuple[float, list[float]]:
        """Seconds from the first creation to the last Ready, and of each."""
        names = self.names("our", count)
        self.client.reconnect()
        before = self.computed()
        created = {name: self.client.create(name) for name in names}
        ready = self.client.wait(names)
        self.cpu.append((self.computed() - before) / count)
        self.settle()
        return max(ready.values()) - min(created.values()), [ready[name] - created[name] for name in names]

    def fill(self, wanted: int) -> None:
        """Tenants that were there before: the statements of one each, and no more. Nothing is hashed for them, and the recorded hash is written;
        nor does a commit wait for the disk."""
        missing = wanted - self.tenants()
        if missing <= 0:
            return
        operations = [operation for operation in self.config["script"]["operations"] if operation["kind"] == "statement"]
        before = self.wal_kb()
        self.filled += self.loop(self.config["script"] | {"operations": operations, "names": self.names("old", missing)}, {"PGOPTIONS": "-c synchronous_commit=off"})
        self.wal_kb_each = (self.wal_kb() - before) / missing
        subprocess.run(["psql", "-Xqd", self.config["superuser"], "-c", "CHECKPOINT"], check=True)

    def tenants(self) -> int:
        return self.serial + MADE_BEFORE

    def ask(self, query: str) -> list[str]:
        done = subprocess.run(["psql", "-XqtAd", self.config["superuser"], "-c", query], check=True, capture_output=True, text=True)
        return done.stdout.split()

    def disk_kb(self) -> int:
        return round(float(self.ask("SELECT sum(pg_database_size(oid)) / 1024 FROM pg_database")[0]))

    def wal_kb(self) -> int:
        return round(float(self.ask("SELECT (pg_current_wal_insert_lsn() - '0/0') / 1024")[0]))

    def sessions(self) -> list[int]:
        """Private memory in kB of each session that the controller keeps open."""
        pids = self.ask("SELECT pid FROM pg_stat_activity WHERE usename = 'tenantry_controller' AND backend_type = 'client backend'")
        sizes = []
        for pid in pids:
            try:
                lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
            except FileNotFoundError:
                continue
            sizes += [int(line.split()[1]) for line in lines if line.startswith("RssAnon:")]
        return sizes

    def growth(self) -> dict:
        """Of the statements alone, of which a loop did nothing else: the tenth tenant's time, and the last one's; and what the sessions computed
        meanwhile. Medians of as many tenants around the tenth and before the last."""
        window = 20
        if len(self.filled) < 3 * window:
            return {}
        ends = {"tenth": self.filled[:window], "last": self.filled[-window:]}
        return {f"{end}_{name}": statistics.median(line[key] for line in lines) * 1000
                for end, lines in ends.items() for name, key in (("ms", "seconds"), ("cpu_ms", "sessions_cpu"))}

    def making(self) -> dict:
        """Round trips to PostgreSQL: all, and those that make the tenant schema."""
        statements = [operation["sql"] for operation in self.config["script"]["operations"] if operation["kind"] == "statement"]
        return {"all": len(statements), "of_the_schema": sum("CREATE TABLE" in sql or "CREATE POLICY" in sql for sql in statements)}

    def computed(self) -> float:
        """Seconds on a processor so far: the controller, and all processes of PostgreSQL, those that ended too. What else the machine does changes
        this less than the time that passes."""
        children = pathlib.Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        ended = pathlib.Path(f"/proc/{self.postmaster}/stat").read_text().rsplit(")", 1)[1].split()
        seconds = (int(ended[13]) + int(ended[14])) / os.sysconf("SC_CLK_TCK")
        for pid in (self.config["controller_pid"], self.postmaster, *map(int, children)):
            try:
                seconds += time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)
            except OSError:
                pass  # ended meanwhile
        return seconds

    def loop(self, script: dict, more: dict[str, str] | None = None) -> list[dict]:
        done = subprocess.run([self.config["raw_loop"]], input=json.dumps(script), capture_output=True, text=True, check=False,
                              env=os.environ | (more or {}) | ({"LD_PRELOAD": self.config["preload"]} if self.config["preload"] else {}))
        if done.returncode != 0:
            sys.exit(f"measure.py: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def raw(self, count: int) -> tuple[float, list[float]]:
        """The same work by the loop. The controller is stopped meanwhile, and passes over these Tenants after: they are paused."""
        script = self.config["script"] | {"names": self.names("raw", count)}
        os.kill(self.config["controller_pid"], signal.SIGSTOP)
        try:
            seconds = [line["seconds"] for line in self.loop(script)]
        finally:
            os.kill(self.config["controller_pid"], signal.SIGCONT)
        self.settle()
        return sum(seconds), seconds

    def settle(self) -> None:
        """What a round leaves to be done (counts on tiers, Events, written pages) is not to fall into the next."""
        subprocess.run(["psql", "-Xqd", self.config["superuser"], "-c", "CHECKPOINT"], check=True)
        cpu, quiet = self.busy_ms(), 0
        deadline = time.monotonic() + 30
        while quiet < 4 and time.monotonic() < deadline:
            time.sleep(0.25)
            now = self.busy_ms()
            quiet = quiet + 1 if now - cpu <= 20 else 0
            cpu = now

    def busy_ms(self) -> int:
        fields = pathlib.Path(f"/proc/{self.config['controller_pid']}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, int]:
        folder = pathlib.Path(f"/proc/{self.config['controller_pid']}")
        values = {}
        for file, keys in (("status", ("VmRSS", "VmHWM")), ("smaps_rollup", ("Pss", "Private_Dirty"))):
            for line in (folder / file).read_text().splitlines():
                key, _, rest = line.partition(":")
                if key in keys:
                    values[key] = int(rest.split()[0])
        return values

    def round(self, count: int, pairs: int, after: int) -> dict:
        """Ours and the loop in turns, A B B A, so that whatever drifts meets both alike."""
        self.fill(after)
        self.settle()
        after = self.tenants()
        ours, raw = [], []
        self.cpu: list[float] = []
        memory = None
        for pair in range(pairs):
            for side in ("ours", "raw") if pair % 2 == 0 else ("raw", "ours"):
                if side == "ours":
                    ours.append(self.ours(count))
                    memory = memory or self.memory()
                else:
                    raw.append(self.raw(count))
        return {
            "after": after,
            "wal_kb_each": self.wal_kb_each,
            "statements": self.growth(),
            "round_trips": self.making(),
            "cpu": statistics.median(self.cpu),
            "sessions_kb": self.sessions(),
            "disk_kb_each": (self.disk_kb() - self.kb_at_first) / max(1, self.serial),
            "tenants": count,
            "pairs": pairs,
            "ours": summary(count, ours),
            "raw": summary(count, raw),
            "ratio": statistics.median(a[0] / b[0] for a, b in zip(ours, raw)),
            "memory_kb": memory,
        }


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(count: int, rounds: list[tuple[float, list[float]]]) -> dict:
    each = [seconds for _, of_each in rounds for seconds in of_each]
    wall = statistics.median(seconds for seconds, _ in rounds)
    return {"seconds": wall, "per_second": count / wall, "p50": quantile(each, 0.5), "p99": quantile(each, 0.99)}


def show(results: list[dict]) -> None:
    print("| tenants | pairs | | s in all | tenants/s | p50 s | p99 s | ours / loop |")
    print("|---|---|---|---|---|---|---|---|")
    for result in results:
        for side, label in (("ours", "controller"), ("raw", "raw loop")):
            row = result[side]
            ratio = f"{result['ratio']:.2f}" if side == "ours" else ""
            print(f"| {result['tenants']} | {result['pairs']} | {label} | {row['seconds']:.3f} | {row['per_second']:.2f} "
                  f"| {row['p50']:.3f} | {row['p99']:.3f} | {ratio} |")


def main() -> None:
    config = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    bench = Bench(config)
    results = []
    for count, pairs, *after in config["rounds"]:
        results.append(bench.round(count, pairs, *(after or [0])))
        print(f"measure.py: {count} tenants, {pairs} pairs: ours / loop = {results[-1]['ratio']:.2f}", file=sys.stderr, flush=True)
    show(results)
    if config.get("json"):
        pathlib.Path(config["json"]).write_text(json.dumps(results, indent=1), encoding="utf-8")
    for result in results:
        if result["memory_kb"]:
            memory = ", ".join(f"{key} {value} kB" for key, value in result["memory_kb"].items())
            print(f"\nThe controller after {result['tenants']} tenants at once: {memory}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A fleet of tenants over a year of a test clock's time: made, upgraded, suspended, deleted and made again, used, used late, corrected and
paid, while the workers that bill them are killed at random moments and run two at once. In the end every bill is compared, to the cent,
with what the arithmetic below says of the same history.

    fleet.py --worker PROGRAM --tenants N --days N --seed N

The server is that of TENANTRY_SERVER_URL. Prints a line for each check and exits 1 if any failed."""
import argparse
import calendar
import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from decimal import ROUND_HALF_UP, Decimal

MIGRATIONS = os.path.join(os.path.dirname(__file__), "../../reconcilers/registry/migrations")
DATABASE = "billing_fleet"
BEGIN = dt.datetime(2031, 1, 1, 12, tzinfo=dt.timezone.utc)
CENT = Decimal("0.01")
TIERS = {
    "free": {"quotas": {"api_requests": 1000, "compute_hours": 1, "storage_mb": 100, "sandboxes": 1, "users": 1}, "price": {"monthly": "0"}},
    "premium": {
        "quotas": {"api_requests": 10000, "compute_hours": 10, "storage_mb": 1000, "sandboxes": 5, "users": 5},
        "price": {"monthly": "49", "overage": {"api_requests": "0.0013", "compute_hours": "0.35", "storage_mb": "0.017", "sandboxes": "3.5"}},
    },
    "enterprise": {
        "quotas": {"api_requests": 100000, "compute_hours": -1, "storage_mb": 10000, "sandboxes": 20, "users": 50},
        "price": {"monthly": "499", "annual": "4990.05", "overage": {"api_requests": "0.0007", "compute_hours": "0.2", "storage_mb": "0.01"}},
    },
}

# ---- the history, and what it comes to ----


def month_of(day):
    return day.replace(day=1)


def next_month(month):
    return (month.replace(day=28) + dt.timedelta(days=4)).replace(day=1)


def days_of(month):
    return calendar.monthrange(month.year, month.month)[1]


def cents(amount):
    return amount.quantize(CENT, ROUND_HALF_UP)


class Tenant:
    """One tenant from its making to its deletion, as it happened."""

    def __init__(self, name, uid, tier, cycle, at):
        self.name, self.uid, self.cycle, self.suspended = name, uid, cycle, False
        self.created, self.deleted = at, None
        self.tiers = {at.date(): tier}  # the last one of a day
        self.cycles = [(at.date(), cycle)]
        self.usage = []  # (resource, month used in, quantity, day recorded)
        self.levels = {"storage_mb": [], "sandboxes": []}  # (instant, level)
        self.paid = set()
        self.serial = 0

    @property
    def tier(self):
        return self.tiers[max(self.tiers)]

    def tier_on(self, day):
        if day < self.created.date() or (self.deleted and day > self.deleted.date()):
            return None
        return self.tiers[max(d for d in self.tiers if d <= day)]

    def periods(self, today):
        """(first day, first day after, cycle) of each period up to that day."""
        start, found = month_of(self.created.date()), []
        last = min(today, self.deleted.date()) if self.deleted else today
        while start <= last:
            # A change of cycle begins with the next period.
            known = max(start, self.created.date())
            cycle = [c for d, c in self.cycles if d < known or d == self.created.date()][-1]
            end = start.replace(year=start.year + 1) if cycle == "annual" else next_month(start)
            found.append((start, end, cycle))
            start = end
        return found

    def integral(self, resource, month, until):
        """Level x seconds in the month."""
        begins = dt.datetime.combine(month, dt.time(), dt.timezone.utc)
        ends = min(dt.datetime.combine(next_month(month), dt.time(), dt.timezone.utc), until)
        total, rows = Decimal(0), self.levels[resource]
        for (at, level), after in zip(rows, [a for a, _ in rows[1:]] + [ends]):
            span = min(after, ends) - max(at, begins)
            if span > dt.timedelta():
                total += Decimal(level) * (Decimal(span.days * 86400 + span.seconds) + Decimal(span.microseconds) / 1000000)
        return total

    def used(self, resource, month, counted, until):
        if resource == "storage_mb":
            return self.integral(resource, month, until) / (days_of(month) * 86400)
        if resource == "sandboxes":
            ends = dt.datetime.combine(next_month(month), dt.time(), dt.timezone.utc)
            begins = dt.datetime.combine(month, dt.time(), dt.timezone.utc)
            before = [level for at, level in self.levels[resource] if at < begins][-1:]
            return Decimal(max(before + [level for at, level in self.levels[resource] if begins <= at < ends], default=0))
        return sum((q for r, m, q, seen in self.usage if r == resource and m == month and counted(seen)), Decimal(0))

    def overage(self, resource, month, counted, until):
        best = None
        for day in range(1, days_of(month) + 1):
            tier = self.tier_on(month.replace(day=day))
            if tier:
                quota = TIERS[tier]["quotas"].get(resource, 0)
                quota = Decimal("Infinity") if quota == -1 else Decimal(quota)
                if best is None or quota >= best[0]:
                    best = (quota, TIERS[tier]["price"].get("overage", {}).get(resource))
        if not best or best[1] is None or best[0].is_infinite():
            return Decimal(0)
        return cents(max(self.used(resource, month, counted, until) - best[0], Decimal(0)) * Decimal(best[1]))

    def bill(self, start, end, cycle, periods, now):
        days = {}
        for i in range((end - start).days):
            tier = self.tier_on(start + dt.timedelta(days=i))
            if tier:
                days[tier] = days.get(tier, 0) + 1
        total = Decimal(0)
        for tier, count in days.items():
            price = TIERS[tier]["price"]
            amount = Decimal(price["monthly"])
            if cycle == "annual":
                amount = Decimal(price.get("annual", amount * 10))
            total += cents(amount * count / (end - start).days)
        months = [start]
        while next_month(months[-1]) < end and next_month(months[-1]) <= now.date():  # those that have begun
            months.append(next_month(months[-1]))
        closes = lambda p: p[1] + dt.timedelta(days=1)  # noqa: E731
        for month in months:
            for resource in ("api_requests", "compute_hours", "storage_mb", "sandboxes"):
                total += self.overage(resource, month, lambda seen: seen < closes((start, end)), now)
        # What came late for a period that was closed before this one was.
        for before in periods:
            if before[1] > start:
                continue
            earlier = [p for p in periods if before[0] <= p[0] < start]
            month = before[0]
            while month < before[1]:
                for resource in ("api_requests", "compute_hours"):
                    then = max(closes(p) for p in earlier)
                    total += self.overage(resource, month, lambda seen: seen < closes((start, end)), now)
                    total -= self.overage(resource, month, lambda seen, then=then: seen < then, now)
                month = next_month(month)
        return total


# ---- the world ----


class World:
    def __init__(self, arguments):
        self.arguments = arguments
        self.random = random.Random(arguments.seed)
        self.folder = tempfile.mkdtemp(prefix="billing-fleet-")
        self.clock, self.uri = os.path.join(self.folder, "clock"), os.path.join(self.folder, "uri")
        server = os.environ["TENANTRY_SERVER_URL"]
        self.url = server.replace("/postgres?", f"/{DATABASE}?")
        self.server = server
        self.workers, self.kills = [], 0
        self.set_clock(BEGIN)

    def psql(self, text, url=None, one=False):
        command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", url or self.url]
        result = subprocess.run(command + (["-1"] if one else []), input=text, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise SystemExit(f"psql: {result.stderr}\n{text[:2000]}")
        return result.stdout.strip()

    def set_clock(self, at):
        offset = int((at - dt.datetime.now(dt.timezone.utc)).total_seconds())
        with open(self.clock + ".new", "w", encoding="ascii") as file:
            file.write(f"{offset}\n")
        os.rename(self.clock + ".new", self.clock)
        self.offset = offset

    def now(self):
        return dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=self.offset)

    def now_sql(self):
        return f"(now() + interval '{self.offset} seconds')"

    def make(self):
        self.psql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", self.server)
        self.psql(f"CREATE DATABASE {DATABASE} TEMPLATE template0", self.server)
        for name in sorted(os.listdir(MIGRATIONS)):
            with open(os.path.join(MIGRATIONS, name), encoding="utf-8") as file:
                self.psql("SET search_path = pg_catalog;\n" + file.read(), one=True)
        self.psql("""
            CREATE SCHEMA fleet;
            CREATE TABLE fleet.tiers (name text PRIMARY KEY, object jsonb);
            CREATE TABLE fleet.tenants (uid text PRIMARY KEY, object jsonb, gone boolean NOT NULL DEFAULT false);
            CREATE FUNCTION fleet.as_wanted(w fleet.tenants) RETURNS boolean LANGUAGE sql STABLE AS $$
                SELECT EXISTS (SELECT FROM public.tenants t WHERE t.tenant_uid = w.uid AND CASE WHEN w.gone THEN t.status = 'deleted'
                    ELSE (t.tier, t.billing_cycle, t.status) = (w.object->'spec'->>'tier', w.object->'spec'->'billing'->>'cycle',
                        CASE w.object->'spec'->>'state' WHEN 'Suspended' THEN 'suspended' ELSE 'active' END) END
                    AND (w.gone OR 5 = (SELECT count(*) FROM public.tenant_quotas q WHERE q.tenant_id = t.id))) $$;""")
        for name, tier in TIERS.items():
            body = {"metadata": {"name": name, "uid": f"t-{name}", "resourceVersion": "1"}, "spec": tier}
            self.psql(f"INSERT INTO fleet.tiers VALUES ('{name}', '{json.dumps(body)}')")
        with open(self.uri, "w", encoding="utf-8") as file:
            file.write(self.url)
        os.chmod(self.uri, 0o600)

    def start_worker(self):
        self.workers.append(subprocess.Popen([self.arguments.worker, self.uri, self.clock]))

    def kill_worker(self, index):
        worker = self.workers.pop(index)
        if worker.poll() is not None:
            raise SystemExit(f"a worker ended by itself with {worker.returncode}")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        self.kills += 1

    def disturb(self):
        """Kill a worker at some moment of what it does now, and start another."""
        if self.random.random() < 0.5:
            time.sleep(self.random.random() * 0.5)
            self.kill_worker(self.random.randrange(len(self.workers)))
            self.start_worker()

    def settle(self, full=False):
        """Until everything is as wanted and billing has nothing left to do."""
        until = time.monotonic() + 600
        question = f"""SELECT (SELECT count(*) FROM fleet.tenants w WHERE NOT fleet.as_wanted(w)),
            (SELECT string_agg(w, ' ') FROM public.billing_work({self.now_sql()}, {str(full).lower()}) w)"""
        while (answer := self.psql(question)) != "0|":
            if time.monotonic() > until:
                raise SystemExit(f"not settled in time: {answer}")
            for worker in self.workers:
                if worker.poll() is not None:
                    raise SystemExit(f"a worker ended by itself with {worker.returncode}")
            time.sleep(0.1)

    def stop(self):
        while self.workers:
            self.kill_worker(0)
        self.psql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", self.server)
        for path in (self.clock, self.uri):
            os.unlink(path)
        os.rmdir(self.folder)


class Fleet:
    def __init__(self, world):
        self.world, self.random = world, world.random
        self.tenants, self.serial = [], 0
        self.statements = []

    def alive(self):
        return [t for t in self.tenants if not t.deleted]

    def want(self, tenant):
        spec = {"tier": tenant.tier, "billing": {"cycle": tenant.cycle}, "owner": {"email": f"{tenant.name}@example.com"},
                "state": "Suspended" if tenant.suspended else "Active"}
        body = {"metadata": {"name": tenant.name, "uid": tenant.uid, "resourceVersion": "1", "generation": 1}, "spec": spec}
        gone = "true" if tenant.deleted else "false"
        self.statements.append(f"INSERT INTO fleet.tenants VALUES ('{tenant.uid}', '{json.dumps(body)}', {gone}) "
                               f"ON CONFLICT (uid) DO UPDATE SET object = excluded.object, gone = excluded.gone;")

    def create(self, name, at):
        self.serial += 1
        tenant = Tenant(name, f"u-{self.serial}", self.random.choice(list(TIERS)), self.random.choice(["monthly"] * 3 + ["annual"]), at)
        self.tenants.append(tenant)
        self.want(tenant)

    def id_of(self, tenant):
        return f"(SELECT id FROM public.tenants WHERE tenant_uid = '{tenant.uid}')"

    def record(self, tenant, resource, kind, quantity, at, twice=False):
        tenant.serial += 1
        statement = (f"SELECT public.usage_record({self.id_of(tenant)}, '{resource}', '{kind}', {quantity}, '{at.isoformat()}', "
                     f"'k-{tenant.serial}', 'test', {self.world.now_sql()});")
        self.statements += [statement] * (2 if twice else 1)

    def use(self, tenant, at):
        """Some use in the middle of a day."""
        kind, today = self.random.randrange(6), at.date()
        if kind <= 1:
            by = self.random.choice([37, 800, 4000, 9000, 60000])
            self.statements.append(f"UPDATE public.tenant_quotas SET current_usage = current_usage + {by} "
                                   f"WHERE tenant_id = {self.id_of(tenant)} AND resource_type = 'api_requests';")
            tenant.usage.append(("api_requests", month_of(today), Decimal(by), today))
        elif kind == 2:
            hours = Decimal(self.random.randrange(1, 800)) / 100
            self.record(tenant, "compute_hours", "count", hours, at, twice=True)
            tenant.usage.append(("compute_hours", month_of(today), hours, today))
        elif kind == 3:
            level = self.random.choice([0, 90, 1500, 2048, 12000])
            self.record(tenant, "storage_mb", "level", level, at)
            tenant.levels["storage_mb"].append((at, level))
        elif kind == 4:
            level = self.random.choice([1, 3, 7])
            self.record(tenant, "sandboxes", "level", level, at)
            tenant.levels["sandboxes"].append((at, level))
        else:  # for the month before, in its days of grace or after its close
            month = month_of(month_of(today) - dt.timedelta(days=1))
            if month < month_of(tenant.created.date()):
                return
            hours = Decimal(self.random.randrange(-200, 2000)) / 100
            late = dt.datetime.combine(month, dt.time(5), dt.timezone.utc) + dt.timedelta(days=days_of(month) - 1)
            self.record(tenant, "compute_hours", "count", hours, late)
            tenant.usage.append(("compute_hours", month, hours, today))

    def change(self, tenant, at):
        """What happens to one tenant at that moment."""
        today, what = at.date(), self.random.random()
        if what < 0.65:
            if today > tenant.created.date():
                self.use(tenant, at)
        elif what < 0.85:
            tenant.tiers[today] = self.random.choice([t for t in TIERS if t != tenant.tier])
            self.want(tenant)
        elif what < 0.90:
            tenant.suspended = not tenant.suspended
            self.want(tenant)
        elif what < 0.94:
            if today > tenant.created.date():
                tenant.cycle = "annual" if tenant.cycle == "monthly" else "monthly"
                tenant.cycles.append((today, tenant.cycle))
                self.want(tenant)
        elif today > tenant.created.date():
            self.end(tenant, at)

    def end(self, tenant, at):
        tenant.deleted = at
        self.want(tenant)
        self.reborn.append(tenant.name)

    def day(self, at):
        """One day's changes, at noon; one a tenant, so that their order does not matter. The dead come back under new ids."""
        self.statements, self.reborn = [], []
        for tenant in self.random.sample(self.alive(), max(1, len(self.alive()) // 4)):
            self.change(tenant, at)
        for name in self.dead:
            if self.random.random() < 0.5:
                self.create(name, at)
        self.dead = self.reborn
        self.world.psql("\n".join(self.statements))

    dead = []

    def pay(self, now):
        """Pay some closed bills, each twice at once."""
        rows = self.world.psql("SELECT t.tenant_uid, b.billing_period_start, b.amount_due, b.tenant_id FROM public.tenant_billing b JOIN "
                               "public.tenants t ON t.id = b.tenant_id WHERE b.closed_at IS NOT NULL AND b.status <> 'paid' ORDER BY 1, 2")
        for row in rows.splitlines():
            uid, start, due, tenant_id = row.split("|")
            if self.random.random() < 0.25:
                self.tenant(uid).paid.add(start)
                call = (f"SELECT public.billing_record_payment('p-{uid}-{start}', '{tenant_id}', '{start}', {due}, 'EUR', "
                        f"'{now.isoformat()}', {self.world.now_sql()})")
                both = [subprocess.Popen(["psql", "-XqAt", self.world.url, "-c", call], stdout=subprocess.DEVNULL) for _ in range(2)]
                if any(process.wait() for process in both):
                    raise SystemExit("a payment was not recorded")

    def tenant(self, uid):
        return next(t for t in self.tenants if t.uid == uid)


FAILED = []


def check(what, expected, actual):
    if expected != actual:
        FAILED.append(what)
        print(f"not ok - {what}: {actual}, where {expected} is right")


def compare(fleet, world, now):
    """Every bill, and that there are no others."""
    rows = world.psql("SELECT t.tenant_uid, b.billing_period_start, b.billing_period_end, b.total, b.amount_due, b.amount_paid, b.status, "
                      "b.closed_at IS NOT NULL, b.due_at FROM public.tenant_billing b JOIN public.tenants t ON t.id = b.tenant_id")
    bills = {}
    for row in rows.splitlines():
        uid, start, *rest = row.split("|")
        bills[uid, start] = rest
    count, amount = 0, Decimal(0)
    for tenant in fleet.tenants:
        periods = tenant.periods(now.date())
        credit = Decimal(0)
        for start, end, cycle in periods:
            what = f"{tenant.name} ({tenant.uid}, {cycle}) from {start}"
            found = bills.pop((tenant.uid, start.isoformat()), None)
            if not found:
                check(what, "a bill", "none")
                continue
            total = tenant.bill(start, end, cycle, periods, now.replace(minute=0, second=0, microsecond=0)) + credit
            closed = dt.datetime.combine(end + dt.timedelta(days=1), dt.time(), dt.timezone.utc) <= now
            check(f"{what}: its end", end.isoformat(), found[0])
            check(f"{what}: total", total, Decimal(found[1]))
            check(f"{what}: due", max(total, Decimal(0)), Decimal(found[2]))
            check(f"{what}: closed", "t" if closed else "f", found[5])
            paid = start.isoformat() in tenant.paid
            check(f"{what}: paid", max(total, Decimal(0)) if paid else Decimal(0), Decimal(found[3]))
            if closed:
                due = dt.datetime.fromisoformat(found[6].replace("+00", "+00:00"))
                status = "paid" if paid or total <= 0 else "overdue" if due <= now else "pending"
                check(f"{what}: status", status, found[4])
                credit = min(total, Decimal(0))
            else:
                credit = Decimal(0)
            count, amount = count + 1, amount + total
    check("bills of nobody", {}, bills)
    return count, amount


def days_to_visit(arguments, generator):
    """Noon of every day, and the first minute of months, where the workers race each other and the edge."""
    for day in range(arguments.days):
        at = BEGIN + dt.timedelta(days=day)
        edge = at.replace(hour=0, minute=0, second=30)
        if at.day in (1, 2):
            yield edge, False
        if generator.random() < arguments.density or at.day == 1:
            yield at, True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", required=True)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--density", type=float, default=0.12, help="the part of the days on which something happens")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    world = World(arguments)
    fleet = Fleet(world)
    try:
        world.make()
        for i in range(arguments.tenants):
            fleet.create(f"tenant-{i}", BEGIN)
        world.psql("\n".join(fleet.statements))
        for _ in range(2):
            world.start_worker()
        world.settle()
        for at, busy in days_to_visit(arguments, random.Random(arguments.seed + 1)):
            if at <= BEGIN:
                continue
            world.set_clock(at)
            world.disturb()
            if busy:
                world.settle()
                fleet.day(at)
                world.disturb()
                if at.day == 20:
                    fleet.pay(at)
            world.settle()
        world.settle(full=True)
        while world.workers:
            world.kill_worker(0)
        count, amount = compare(fleet, world, world.now())
    finally:
        for worker in world.workers:
            worker.kill()
    print(f"{arguments.tenants} tenants, {len(fleet.tenants)} lives, {arguments.days} days, {world.kills} kills, seed {arguments.seed}: "
          f"{count} bills, {amount} EUR in all, {time.monotonic() - began:.0f} s")
    if FAILED:
        print(f"{len(FAILED)} differences; the registry is left in database {DATABASE}")
        sys.exit(1)
    world.stop()
    print("ok - every bill is right to the cent")


main()

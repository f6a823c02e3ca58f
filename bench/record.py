"""Record what the controller does for one tenant: its API requests, by standing between it and the API server, and its SQL statements, from
PostgreSQL's log. The two, merged by time, are the script of the raw loop.

    record.py proxy CONFIG       serve until SIGTERM, writing a JSON line a request
    record.py merge CONFIG       print the script's operations

CONFIG is a JSON file; bench/run writes it.
"""

import http.client
import http.server
import json
import pathlib
import re
import signal
import socketserver
import ssl
import sys
import threading
import time
from datetime import datetime, timezone

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "accept-encoding"}
OF_THE_SERVER = (
    "current_setting('max_connections')", "SELECT count(*) = 2 AND EXISTS (SELECT FROM pg_auth_members", "WHERE datallowconn AND EXISTS",
    "WITH busy AS", "WITH marked AS", "SELECT o.kind, o.name, o.id", "SELECT t.id, EXISTS (SELECT FROM public.tenant_retained",
    "FROM public.tenant_retained WHERE location",
)
PARAMETERS = re.compile(r"\$\d+ = ('(?:[^']|'')*'|NULL)")


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    config: dict = {}
    log_lock = threading.Lock()

    def setup(self) -> None:
        super().setup()
        context = ssl.create_default_context(cafile=self.config["ca"])
        host, port = self.config["api"].removeprefix("https://").split(":")
        self.upstream = http.client.HTTPSConnection(host, int(port), context=context)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        started = time.time()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        self.upstream.request(self.command, self.path, body=body, headers=headers)
        answer = self.upstream.getresponse()
        self.record(started, answer.status, body)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while piece := answer.read1(65536):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def record(self, started: float, status: int, body: bytes) -> None:
        line = {
            "at": started,
            "method": self.command,
            "path": self.path,
            "status": status,
            "type": self.headers.get("Content-Type", "application/json"),
            "body": body.decode(),
        }
        with self.log_lock, open(self.config["requests"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def __init__(self, config: dict) -> None:
        super().__init__(("127.0.0.1", config["port"]), Proxy)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(config["certificate"], config["key"])
        self.context.set_alpn_protocols(["http/1.1"])

    def finish_request(self, request, client_address) -> None:  # in the connection's own thread
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            pass  # the controller closed the connection


def proxy(config: dict) -> None:
    Proxy.config = config
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(config).serve_forever()


def read_requests(config: dict) -> list[dict]:
    """Those about the recorded tenant. Events are left out, for nobody waits for them; so is what was asked again."""
    operations = []
    for line in pathlib.Path(config["requests"]).read_text(encoding="utf-8").splitlines():
        request = json.loads(line)
        ours = config["name"] in request["path"] or config["name"] in request["body"]
        waits = request["status"] == 403  # for a right just given; the loop does so too
        if ours and not waits and "/events" not in request["path"] and "watch=" not in request["path"]:
            operations.append({"kind": "request"} | request)
    return operations


def read_statements(config: dict) -> list[dict]:
    """What is asked of the server itself, for its DatabaseServer's status, by the watchdog and about orphans, is no part of a tenant."""
    operations = []
    for path in sorted(pathlib.Path(config["log"]).glob("*.json")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            message = entry.get("message", "")
            if entry.get("user") != config["role"] or not re.match(r"statement: |execute ", message):
                continue
            if any(text in message for text in OF_THE_SERVER):
                continue
            at = datetime.strptime(entry["timestamp"], "%Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=timezone.utc)
            simple = message.startswith("statement: ")
            parameters = [
                None if text == "NULL" else text[1:-1].replace("''", "'") for text in PARAMETERS.findall(entry.get("detail", ""))
            ]
            operations.append({
                "kind": "statement",
                "at": at.timestamp(),
                "session": entry["session_id"],
                "database": entry["dbname"],
                "sql": message.split(": ", 1)[1],
                "parameters": None if simple else parameters,
            })
    return operations


def merge(config: dict) -> None:
    operations = [op for op in read_requests(config) + read_statements(config) if config["from"] <= op["at"] <= config["to"]]
    operations.sort(key=lambda op: op["at"])
    for op in operations:
        del op["at"]
        if op["kind"] == "statement" and re.match(r"\s*INSERT INTO public\.tenants\b", op["sql"]):
            op["gives_id"] = True
    if sum(op.get("gives_id", False) for op in operations) != 1:
        sys.exit("record.py: the tenant was not registered by exactly one statement")
    # What the controller computes: its share of PBKDF2 for the login's verifier, and the owner's bcrypt.
    operations = [{"kind": "bcrypt"}, {"kind": "scram"}] + operations
    json.dump(operations, sys.stdout)


def main() -> None:
    config = json.loads(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"))
    {"proxy": proxy, "merge": merge}[sys.argv[1]](config)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""An HTTP/1.1 server whose paths misbehave on demand, for tests of HTTP clients.

    http_server.py plain | tls CERTIFICATE KEY [CLIENT_CA] | proxy

It listens on a free port of 127.0.0.1, prints that port, and ends when its standard input does.
"""

import gzip
import http.server
import json
import os
import select
import socket
import ssl
import sys
import threading
import urllib.parse

log_lock = threading.Lock()
log = []
plan = []
stop = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()  # here, so that a slow client holds up nobody else
        super().setup()

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", headers=(), missing=0):
        """With missing, that many bytes are promised and not sent."""
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = self.close_connection or missing > 0

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def peer_name(self):
        certificate = self.request.getpeercert() if isinstance(self.request, ssl.SSLSocket) else None
        if not certificate:
            return ""
        return dict(pair for rdn in certificate["subject"] for pair in rdn).get("commonName", "")

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        parts = url.path.strip("/").split("/")
        if parts[0] == "plan":
            with log_lock:
                plan[:] = json.loads(body)
                log.clear()
        elif parts[0] != "log":
            with log_lock:
                log.append({"method": self.command, "path": self.path, "port": self.client_address[1],
                            "headers": {k.lower(): v for k, v in self.headers.items()},
                            "body": body.decode("utf-8", "replace"), "peer": self.peer_name(),
                            "sni": getattr(self.request, "sni", None)})
        method = getattr(self, "page_" + parts[0].replace("-", "_"), None)
        if method is None:
            self.answer(404, b"no such page\n")
        else:
            method(parts[1:], query)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def page_log(self, parts, query):
        with log_lock:
            body = json.dumps(log).encode()
            if "clear" in query:
                log.clear()
        self.answer(200, body, [("Content-Type", "application/json")])

    def page_hello(self, parts, query):
        self.answer(200, b"hello", [("Content-Type", "text/plain"), ("X-Kubernetes-PF-FlowSchema-UID", "flow-1")])

    def page_status(self, parts, query):
        headers = [("Retry-After", query["retry"])] if "retry" in query else []
        if "location" in query:
            headers.append(("Location", query["location"]))
        self.answer(int(parts[0]), query.get("body", "status " + parts[0]).encode(), headers)

    def page_big(self, parts, query):
        self.answer(int(query.get("status", 200)), b"x" * int(parts[0]))

    def page_gzip(self, parts, query):
        self.answer(200, gzip.compress(b"z" * int(parts[0])), [("Content-Encoding", "gzip")])

    def page_headers(self, parts, query):
        self.answer(200, b"", [("X-Filler-%d" % i, "f" * 1000) for i in range(int(parts[0]))])

    def page_slow(self, parts, query):
        stop.wait(int(parts[0]) / 1000)
        self.answer(200, b"slow")

    def page_drip(self, parts, query):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(int(parts[0])):
            self.chunk(b"piece %d\n" % number)
            stop.wait(int(parts[1]) / 1000)
        self.chunk(b"")

    def page_stall(self, parts, query):
        """One piece of a body, then silence until the client goes away."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(b"first\n")
        self.wait_for_close()

    def page_hang(self, parts, query):
        self.wait_for_close()

    def wait_for_close(self):
        try:
            while not stop.is_set():
                readable, _, _ = select.select([self.request], [], [], 0.1)
                if readable and not self.request.recv(1):
                    break
        except OSError:
            pass
        with log_lock:
            log.append({"method": "CLOSED", "path": self.path, "port": self.client_address[1]})
        self.close_connection = True

    def page_die(self, parts, query):
        """Take the request and close without an answer; with /die/N only for the first N."""
        with log_lock:
            seen = sum(1 for entry in log if entry["path"] == self.path)
        if parts and seen > int(parts[0]):
            self.answer(200, b"alive")
            return
        self.close_connection = True

    def page_cut(self, parts, query):
        """Promise more than is sent."""
        self.answer(200, b"x" * 10, missing=990)

    def page_plan(self, parts, query):
        """POST a list of {"status", "retry", "body", "missing"} or {"die": true}: what the next requests to /api and /apis get."""
        self.answer(200)

    def page_api(self, parts, query):
        with log_lock:
            step = plan.pop(0) if plan else {}
        if step.get("die"):
            self.close_connection = True
            return
        headers = [("Content-Type", "application/json")]
        if "retry" in step:
            headers.append(("Retry-After", str(step["retry"])))
        self.answer(step.get("status", 200), json.dumps(step.get("body", {})).encode(), headers, step.get("missing", 0))

    page_apis = page_api

    def page_auth(self, parts, query):
        """200 to the bearer of the token that the path names, 401 to others."""
        known = self.headers.get("Authorization") == "Bearer " + parts[0]
        self.answer(200 if known else 401, b"{}")


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    """CONNECT to anywhere on 127.0.0.1, noting what it was asked for."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        with log_lock:
            body = json.dumps(log).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self):
        with log_lock:
            log.append({"method": "CONNECT", "path": self.path,
                        "headers": {k.lower(): v for k, v in self.headers.items()}})
        port = int(self.path.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            self.send_response(200)
            self.end_headers()
            pairs = {self.request: upstream, upstream: self.request}
            while not stop.is_set():
                readable, _, _ = select.select(list(pairs), [], [], 0.1)
                for end in readable:
                    data = end.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    pairs[end].sendall(data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    context = None

    def get_request(self):
        connection, address = super().get_request()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request, client_address):
        pass  # a client that goes away is part of the tests


def note_sni(connection, name, context):
    connection.sni = name


def main():
    kind = sys.argv[1]
    server = Server(("127.0.0.1", 0), ProxyHandler if kind == "proxy" else Handler)
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        context.sni_callback = note_sni
        if len(sys.argv) > 4:
            context.load_verify_locations(sys.argv[4])
            context.verify_mode = ssl.CERT_OPTIONAL
        server.context = context
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.buffer.read()
    stop.set()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

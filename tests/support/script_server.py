#!/usr/bin/env python3
"""An HTTP/1.1 server that plays a script: its n-th request gets the n-th answer, for tests of clients of a Kubernetes API.

    script_server.py SCRIPT.json

SCRIPT is a list of answers:
    {"status": 200, "headers": {"Retry-After": "1"}, "chunk": 1, "body": ["text", 300, "more text"], "end": "close"}
A number in the body is a pause in milliseconds; with "chunk", the texts go out in pieces of that many bytes. "end" is
"close" (the whole answer was sent), "cut" (the connection breaks in the middle of the body) or "hold" (silence until the
client goes away). Requests past the end of the script get an empty answer that is held.

It listens on a free port of 127.0.0.1, prints that port, then one line of JSON for each request as it begins, and ends
when its standard input does.
"""

import http.server
import json
import os
import select
import socket
import sys
import threading
import time
import urllib.parse

lock = threading.Lock()
stop = threading.Event()
script = []
played = 0
started = time.monotonic()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def next_answer(self):
        global played
        url = urllib.parse.urlsplit(self.path)
        with lock:
            answer = script[played] if played < len(script) else {"end": "hold"}
            played += 1
            print(json.dumps({"path": url.path, "query": url.query, "port": self.client_address[1],
                              "accept": self.headers.get("Accept", ""),
                              "ms": int((time.monotonic() - started) * 1000)}), flush=True)
        return answer

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_GET(self):
        answer = self.next_answer()
        self.send_response(answer.get("status", 200))
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in answer.get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()
        for part in answer.get("body", []):
            if isinstance(part, int):
                stop.wait(part / 1000)
                continue
            data = part.encode()
            step = answer.get("chunk", len(data)) or 1
            for start in range(0, len(data), step):
                self.chunk(data[start:start + step])
        end = answer.get("end", "close")
        if end == "close":
            self.chunk(b"")
            return
        if end == "hold":
            self.wait_for_close()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def wait_for_close(self):
        while not stop.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.1)
            if readable and not self.connection.recv(1):
                return


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that goes away is part of the tests


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        script.extend(json.load(file))
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.buffer.read()
    stop.set()
    os._exit(0)


if __name__ == "__main__":
    main()

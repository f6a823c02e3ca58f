#!/usr/bin/env python3
"""A proxy in front of an S3 server that lacks features: s3_filter.py ENDPOINT [NAME=STATUS...] prints its port and serves.

A request with the query parameter NAME is answered with STATUS and never reaches the server. Everything else passes with its
own Host, which its signature covers.
"""
import http.client
import http.server
import sys
import urllib.parse

UPSTREAM = urllib.parse.urlsplit(sys.argv[1]).netloc
REFUSED = dict(pair.split("=") for pair in sys.argv[2:])
CODES = {"501": "NotImplemented", "403": "AccessDenied", "405": "MethodNotAllowed"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, keep_blank_values=True)
        status = next((REFUSED[name] for name in asked if name in REFUSED), None)
        if status:
            self.answer(int(status), {}, f"<Error><Code>{CODES[status]}</Code></Error>".encode())
            return
        upstream = http.client.HTTPConnection(UPSTREAM, timeout=30)
        upstream.request(self.command, self.path, body, dict(self.headers.items()))
        reply = upstream.getresponse()
        kept = {name: value for name, value in reply.getheaders() if name.lower() not in ("content-length", "connection", "transfer-encoding")}
        self.answer(reply.status, kept, reply.read())
        upstream.close()

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()

#!/usr/bin/env python3
"""A mail relay for tests of its clients: aiosmtpd with STARTTLS or TLS, with or without a login.

    smtp_server.py MODE CERTIFICATE KEY [USER PASSWORD]

MODE is starttls, tls or plain. It listens on a free port of 127.0.0.1, prints that port, then one line of JSON for each message, and ends when its
standard input does. A recipient at refuse.example gets 550, one at later.example 451.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, mode):
        self.mode = mode

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.endswith("@refuse.example"):
            return "550 no such user"
        if address.endswith("@later.example"):
            return "451 come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": self.mode == "tls" or session.ssl is not None,
                          "user": session.auth_data, "data": envelope.content.decode("ascii")}), flush=True)
        return "250 taken"


def authenticator(login):
    def check(server, session, envelope, mechanism, data):
        good = login is not None and (data.login, data.password) == login
        return AuthResult(success=good, auth_data=data.login.decode()) if good else AuthResult(success=False, handled=False)
    return check


async def main():
    mode, certificate, key = sys.argv[1:4]
    login = tuple(word.encode() for word in sys.argv[4:6]) if len(sys.argv) > 5 else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()

    def protocol():
        return SMTP(Handler(mode), tls_context=context if mode == "starttls" else None, require_starttls=mode == "starttls",
                    auth_required=login is not None, auth_require_tls=mode == "starttls", authenticator=authenticator(login))

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())

"""Print the SCRAM-SHA-256 verifier of the password on stdin, in the form that PostgreSQL stores, so that the password
itself is in no statement and no log of the server. Only for passwords of ASCII, which need no further preparation."""

import base64
import hashlib
import hmac
import secrets
import sys

ITERATIONS = 4096


def verifier(password: bytes, salt: bytes) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt64}${stored64}:{server64}"


def main() -> None:
    password = sys.stdin.buffer.readline().rstrip(b"\n")
    if not password or not password.isascii():
        sys.exit("scram.py: a password of ASCII characters is expected on stdin")
    print(verifier(password, secrets.token_bytes(16)))


if __name__ == "__main__":
    main()

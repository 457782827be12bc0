"""Who is who for a secured test broker: certificates of one authority, and an OIDC token endpoint."""

import base64
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


def openssl(*arguments: str, text: bytes | None = None) -> bytes:
    """What the openssl program answers."""
    done = subprocess.run(["openssl", *arguments], input=text, check=True, capture_output=True)
    return done.stdout


class Authority:
    """A certificate authority in a folder; ``ca`` is what clients and broker trust."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, folder / "ca.pem"
        self._key = folder / "ca-key.pem"
        subject = ["-subj", "/CN=test authority", "-days", "2"]
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, "-keyout", str(self._key),
                "-out", str(self.ca))  # fmt: skip

    def issue(self, name: str, *, password: str | None = None) -> tuple[Path, Path]:
        """A certificate for the loopback address under a common name, and its key, encrypted where asked."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        request, extension = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extension.write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/O=desk/CN={name}",
                "-keyout", str(key), "-out", str(request))  # fmt: skip
        openssl("x509", "-req", "-in", str(request), "-CA", str(self.ca), "-CAkey", str(self._key),
                "-days", "2", "-extfile", str(extension), "-out", str(certificate))  # fmt: skip
        if password is not None:
            openssl("pkcs8", "-topk8", "-in", str(key), "-out", str(self.folder / "encrypted"),
                    "-passout", f"pass:{password}")  # fmt: skip
            (self.folder / "encrypted").replace(key)
        return certificate, key


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenEndpoint:
    """An OIDC provider on the loopback interface: ``/token`` for clients, ``/jwks`` for the broker.

    Parameters
    ----------
    folder : Path
        For its key.
    clients : dict of str to str
        Client id -> secret; the id becomes the token's subject.
    """

    AUDIENCE = "kafka"

    def __init__(self, folder: Path, clients: dict[str, str]) -> None:
        self._key = folder / "oidc-key.pem"
        openssl("genrsa", "-out", str(self._key), "2048")
        modulus = openssl("rsa", "-in", str(self._key), "-noout", "-modulus").decode().strip()
        number = _base64url(bytes.fromhex(modulus.partition("=")[2]))
        key = {"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": number, "e": "AQAB"}
        self._clients, self.issued, endpoint = clients, 0, self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.say(200, {"keys": [key]})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                basic = self.headers.get("Authorization", "").removeprefix("Basic ")
                client, _, secret = base64.b64decode(basic).decode().partition(":")
                if endpoint._clients.get(client) != secret:
                    self.say(401, {"error": "invalid_client"})
                else:
                    endpoint.issued += 1
                    self.say(200, {"access_token": endpoint.token(client), "token_type": "Bearer",
                                   "expires_in": 300})  # fmt: skip

            def say(self, status: int, what: object) -> None:
                body = json.dumps(what).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def token(self, subject: str) -> str:
        """A signed token for a subject."""
        now = int(time.time())
        claims = {"sub": subject, "iss": self.url, "aud": self.AUDIENCE, "iat": now, "exp": now + 300}
        header = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        text = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = openssl("dgst", "-sha256", "-sign", str(self._key), text=text.encode())
        return f"{text}.{_base64url(signature)}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

"""A chat page whose answers can be voted on, and the backend that signs its vote tokens.

    pip install "PyJWT[crypto]==2.15.1"
    python server.py --key-id ID --key chat.pem

The answers are canned: a model is not what this shows.
"""

import argparse
import json
import pathlib
import secrets
import time
from http import HTTPStatus
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

HERE = pathlib.Path(__file__).parent
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/chat.js": ("chat.js", "text/javascript; charset=utf-8"),
    "/chat.css": ("chat.css", "text/css; charset=utf-8"),
}
ANSWERS = [
    "The warranty covers repairs for two years from the day of purchase.",
    "Returns are free within 30 days. The label is in the parcel.",
    "A battery lasts about nine hours of video.",
]
REASONS = ["wrong", "too long", "off topic"]

# What each conversation has said so far, by its id. A visitor's cookie names the conversation.
conversations: dict[str, list[str]] = {}


class Signer:
    """Signs vote tokens with the private key that `keys create --scope vote` showed."""

    def __init__(self, workspace: str, key_id: str, private_key: str):
        self.workspace = workspace
        self.key_id = key_id
        self.private_key = private_key

    def token(self, person: str, conversation: str) -> str:
        """A token for one person's votes on every answer of one conversation, for an hour."""
        now = int(time.time())
        claims = {
            "aud": self.workspace,
            "sub": person,
            "trace_prefix": f"{conversation}:",
            "scale": "thumbs",
            "comment": True,
            "reasons": REASONS,
            "metadata": {"_session": conversation, "_environment": "example"},
            "iat": now,
            "exp": now + 3600,
        }
        return jwt.encode(claims, self.private_key, algorithm="EdDSA", headers={"kid": self.key_id})


def handler(signer: Signer, hindsight: str):
    """The HTTP handler of the page at `/`, the conversation at `/chat` and tokens at `/token`."""
    # Everything else is forbidden to the page.
    policy = f"default-src 'none'; script-src 'self' {hindsight}; style-src 'self'; connect-src 'self' {hindsight}"

    class Chat(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path in FILES:
                name, kind = FILES[self.path]
                text = (HERE / name).read_text().replace("{{hindsight}}", hindsight)
                self.answer(text.encode(), kind)
            elif self.path == "/chat":
                _, conversation = self.visitor()
                self.json({"conversation": conversation, "messages": conversations.setdefault(conversation, [])})
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def do_POST(self):
            person, conversation = self.visitor()
            if self.path == "/token":
                self.json({"token": signer.token(person, conversation)})
            elif self.path == "/chat":
                length = int(self.headers.get("content-length", 0))
                messages = conversations.setdefault(conversation, [])
                messages.append(json.loads(self.rfile.read(length))["text"])
                messages.append(ANSWERS[len(messages) // 2 % len(ANSWERS)])
                self.json({"conversation": conversation, "messages": messages})
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def visitor(self):
            """Who this is and which conversation it is. With a login, the person would be a pseudonym of the account."""
            cookie = SimpleCookie(self.headers.get("cookie"))
            self.visit = cookie["visit"].value if "visit" in cookie else secrets.token_urlsafe(12)
            return f"person-{self.visit}", f"conv-{self.visit}"

        def json(self, value):
            self.answer(json.dumps(value).encode(), "application/json")

        def answer(self, body: bytes, kind: str):
            self.send_response(HTTPStatus.OK)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("content-security-policy", policy)
            if hasattr(self, "visit"):
                self.send_header("set-cookie", f"visit={self.visit}; Path=/; HttpOnly; SameSite=Strict")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Chat


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--key", required=True, type=pathlib.Path, help="file with the private key in PEM")
    parser.add_argument("--key-id", required=True, help="id of the vote key")
    parser.add_argument("--workspace", default="default", help="workspace of the vote key")
    parser.add_argument("--hindsight", default="http://127.0.0.1:8787", help="base URL of the service, without /v1")
    parser.add_argument("--port", default=8000, type=int)
    options = parser.parse_args()
    signer = Signer(options.workspace, options.key_id, options.key.read_text())
    server = ThreadingHTTPServer(("127.0.0.1", options.port), handler(signer, options.hindsight.rstrip("/")))
    print(f"The chat is on http://127.0.0.1:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A token service as docker-registry expects it: token-service.py DIR

Serves https on a free port of 127.0.0.1, which it prints, with DIR/tls.crt and DIR/tls.key; signs with
DIR/tls.key (RSA) and names DIR/tls.crt in the token. Users: anna with "anna-password" may do what she
asks for; nobody else gets anything. GET with Basic; POST with the refresh token "anna-identity".
Every request's line goes to DIR/requests.
"""
import base64
import http.server
import json
import ssl
import subprocess
import sys
import time
import urllib.parse

folder = sys.argv[1]


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


with open(folder + "/tls.crt") as f:
    certificate = "".join(f.read().split("-----")[2].split())


def token(service, scopes):
    access = []
    for scope in scopes:
        kind, rest = scope.split(":", 1)
        name, actions = rest.rsplit(":", 1)
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
    claims = {"iss": "tests", "sub": "anna", "aud": service, "exp": now + 60, "nbf": now - 10, "iat": now,
              "jti": str(time.time_ns()), "access": access}
    signed = b64url(json.dumps(header).encode()) + "." + b64url(json.dumps(claims).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", folder + "/tls.key"],
                               input=signed.encode(), stdout=subprocess.PIPE, check=True).stdout
    return signed + "." + b64url(signature)


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, query, allowed):
        with open(folder + "/requests", "a") as f:
            f.write(self.command + " " + self.path + "\n")
        scopes = [s for text in query.get("scope", []) for s in text.split()]
        body = b"{}"
        if allowed:
            body = json.dumps({"access_token": token(query.get("service", [""])[0], scopes)}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        expected = "Basic " + base64.b64encode(b"anna:anna-password").decode()
        self.answer(query, self.headers.get("Authorization") == expected)

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.answer(form, form.get("refresh_token") == ["anna-identity"])

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/tls.crt", folder + "/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()

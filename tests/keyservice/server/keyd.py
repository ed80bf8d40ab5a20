"""Drives the real bulla-keyd: one service on free ports in a folder of its own."""
import base64
import contextlib
import email
import email.policy
import hashlib
import http.client
import json
import os
import re
import secrets
import sqlite3
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import openapi

PROGRAM = os.environ["BULLA_KEYD"]
WAIT_S = 60
DESCRIBED = openapi.OpenApi()  # every answer that any test gets is held to it
HIGH, MEDIUM, NONE = 1, 2, 3
BATCH_TYPE = "application/vnd.bulla.key-batch"

# P-256 (SP 800-186, 3.2.1.3): enough of it to make public keys, good and bad.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
A = P - 3
B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b
G = (0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296,
     0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5)


def point_add(one, two):
    if one is None or two is None:
        return two if one is None else one
    if one[0] == two[0] and (one[1] + two[1]) % P == 0:
        return None
    if one == two:
        slope = (3 * one[0] ** 2 + A) * pow(2 * one[1], -1, P)
    else:
        slope = (two[1] - one[1]) * pow(two[0] - one[0], -1, P)
    x = (slope**2 - one[0] - two[0]) % P
    return x, (slope * (one[0] - x) - one[1]) % P


def point_times(number, point=G):
    total = None
    while number:
        if number & 1:
            total = point_add(total, point)
        point = point_add(point, point)
        number >>= 1
    return total


def encode(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point_bytes(point):
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def public_key():
    return encode(point_bytes(point_times(secrets.randbelow(2**255) + 1)))


def pickup_name(pub):
    return hashlib.sha256(decode(pub)).hexdigest()


def envelope_id():
    raw = bytearray(int(time.time() * 1000).to_bytes(6, "big") + secrets.token_bytes(10))
    raw[6] = raw[6] & 0x0f | 0x70
    raw[8] = raw[8] & 0x3f | 0x80
    return bytes(raw)


def record(identity=None, to=("bob@example.org",), level=MEDIUM, expires=0, key=None,
           subject="Grüße", suite=1, sent=None, sender="Alice@Example.com", flags=0, read_by=0):
    """One record of docs/format/key-batch.md."""
    profile, sender, subject = b"default", sender.encode(), subject.encode()
    addresses = b"".join(struct.pack("<H", len(a.encode())) + a.encode() for a in to)
    sent = int(time.time() * 1000) if sent is None else sent
    body = struct.pack("<BBH16sQQQQ32sHHHH", suite, level, flags, identity or envelope_id(), sent,
                       expires, read_by, 1234, key or secrets.token_bytes(32), len(profile), len(sender),
                       len(subject), len(to)) + profile + sender + subject + addresses
    return struct.pack("<I", len(body) + 4) + body


def batch(*records):
    body = b"".join(records)
    return struct.pack("<IIII", 0x31424b42, len(records), 16 + len(body), 0) + body


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.time = time.monotonic()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]["code"]


def psql(statement, url=None):
    """On the server that tools/private-postgresql runs: what it answers."""
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement,
                           url or os.environ["BULLA_POSTGRESQL"]],
                          check=True, capture_output=True, text=True, timeout=WAIT_S)
    return done.stdout.strip()


def postgresql_database():
    """The URL of a database of its own; None where the tests are to run on SQLite."""
    server = os.environ.get("BULLA_POSTGRESQL")
    if server is None:
        return None
    name = "keys_" + secrets.token_hex(6)
    psql(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


class Service:
    """init, serve, and calls at both listeners."""

    def __init__(self, folder, settings="", environment=None):
        self.environment = {**os.environ, **(environment or {})}
        self.folder = folder
        self.dir = os.path.join(folder, "keyd")
        self.config = os.path.join(self.dir, "keyd.conf")
        self.process = None
        self.database = postgresql_database()
        self.name = "one"
        self.run("init", self.dir, "--listen", "127.0.0.1:0", "--engine-listen", "127.0.0.1:0",
                 "--public-url", "", *(["--database", self.database] if self.database else []),
                 config=False)
        with open(self.config, "a", encoding="utf-8") as config:
            if "second_factor_roles" not in settings:
                config.write("second_factor_roles = {}\n")
            config.write(settings)
        self.start()

    def path(self, name):
        return os.path.join(self.dir, name)

    def run(self, *words, config=True, check=True, stdin=None):
        words = [PROGRAM, *words] + (["--config", self.config] if config else [])
        done = subprocess.run(words, capture_output=True, text=True, input=stdin, timeout=WAIT_S)
        if check and done.returncode != 0:
            raise AssertionError(f"{words}: {done.returncode} {done.stderr}")
        return done

    def start(self):
        ports = os.path.join(self.folder, f"ports-{self.name}")
        if os.path.exists(ports):
            os.unlink(ports)
        self.log = open(os.path.join(self.folder, f"log-{self.name}"), "ab")
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--config", self.config, "--ports-file", ports], stderr=self.log,
            env=self.environment)
        until = time.monotonic() + WAIT_S
        while not os.path.exists(ports):
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError("the service did not start:\n" + self.log_text())
            time.sleep(0.02)
        with open(ports, encoding="utf-8") as file:
            lines = dict(line.rstrip("\n").split("=", 1) for line in file)
        self.public, self.engine = int(lines["public"]), int(lines["engine"])

    def stop(self, signal=15):
        if self.process is None:
            return 0
        self.process.send_signal(signal)
        status = self.process.wait(WAIT_S)
        self.process = None
        self.log.close()
        return status

    def log_text(self):
        with open(os.path.join(self.folder, f"log-{self.name}"), encoding="utf-8",
                  errors="replace") as file:
            return file.read()

    def tls(self, certificate=None):
        context = ssl.create_default_context(cafile=self.path("ca.crt"))
        if certificate is not None:
            context.load_cert_chain(certificate + ".crt", certificate + ".key")
        return context

    def call(self, method, path, body=None, headers=(), port=None, certificate=None,
             source=None):
        """`source`: this machine's address that the call comes from, as 127.0.1.1."""
        host, bound = ("127.0.0.1", (source, 0)) if source else ("localhost", None)
        connection = http.client.HTTPSConnection(host, port or self.public, timeout=WAIT_S,
                                                 context=self.tls(certificate),
                                                 source_address=bound)
        try:
            connection.request(method, path, body, dict(headers))
            answer = Answer(connection.getresponse())
            DESCRIBED.check("engine" if port == self.engine else "public", method, path, answer,
                            body, dict(headers).get("Content-Type"))
            return answer
        finally:
            connection.close()

    def store(self, body, certificate=None, kind=BATCH_TYPE, name=None):
        headers = {"Content-Type": kind} | ({} if name is None else {"X-Bulla-Batch": name})
        return self.call("POST", "/v1/envelopes", body, headers, self.engine,
                         certificate or self.path("engine"))

    def open(self, **fields):
        return self.call("POST", "/v1/open", json.dumps(fields), {"Content-Type": "text/plain"})

    def rows_count(self, table):
        """Behind the service's back."""
        statement = f"SELECT count(*) FROM {table}"
        if self.database:
            return int(psql(statement, self.database))
        with contextlib.closing(sqlite3.connect(self.path("keys.db"), timeout=WAIT_S)) as db:
            return db.execute(statement).fetchone()[0]

    def sql(self, sqlite, postgresql):
        """A change behind the service's back."""
        if self.database:
            psql(postgresql, self.database)
            return
        with contextlib.closing(sqlite3.connect(self.path("keys.db"), timeout=WAIT_S)) as db, db:
            db.execute(sqlite)

    def account(self, address, password):
        self.run("account", "add", "--password-file", "-", address, stdin=password + "\n")

    def audit_text(self):
        return self.run("audit", "export", "-").stdout

    def mails(self, to):
        found = []
        for name in sorted(os.listdir(self.path("mail"))):
            if name.endswith(".eml"):
                with open(self.path("mail/" + name), "rb") as file:
                    mail = email.message_from_binary_file(file, policy=email.policy.default)
                if mail["To"].addresses[0].addr_spec == to:
                    found.append(mail)
        return found

    def mail(self, to, count=1):
        until = time.monotonic() + WAIT_S
        while len(self.mails(to)) < count:
            if time.monotonic() > until:
                raise AssertionError(f"no mail to {to}")
            time.sleep(0.02)
        return self.mails(to)[-1]

    def code(self, to, count=1):
        return re.search(r"^ +(\d{4} \d{4})\s*$", self.mail(to, count).get_content(), re.M)[1]


class Node(Service):
    """Another service with the same settings, database and keys as one that there is."""

    def __init__(self, service, name):
        self.environment, self.folder = service.environment, service.folder
        self.dir, self.config, self.database = service.dir, service.config, service.database
        self.name = name
        self.process = None
        self.start()


class Browser:
    """Cookies and the token, as the pages keep them."""

    def __init__(self, service, source=None):
        self.service = service
        self.source = source
        self.cookies = {}
        self.csrf = ""
        self.call("GET", "/v1/session")

    def call(self, method, path, body=None, headers=()):
        fields = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if method != "GET":
            fields.update({"Content-Type": "application/json", "X-Bulla-CSRF": self.csrf,
                           "Origin": f"https://{'127.0.0.1' if self.source else 'localhost'}:"
                                     f"{self.service.public}",
                           "Sec-Fetch-Site": "same-origin"})
        fields.update(headers)
        text = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
        answer = self.service.call(method, path, text, {k: v for k, v in fields.items()
                                                        if v is not None},
                                   source=self.source)
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        if answer.status == 200 and b'"csrf"' in answer.body:
            self.csrf = answer.json["csrf"]
        return answer

    @property
    def cookie(self):
        return self.cookies["__Host-bulla"]

    def sign_in(self, user, password):
        return self.call("POST", "/v1/session", {"user": user, "password": password})

    def renew(self, user, made, password):
        """Signs in by a password that was made for its owner, who chooses another."""
        answer = self.sign_in(user, made)
        assert answer.json["needs"] == "password", answer.body
        return self.call("POST", "/v1/session/password",
                         {"user": user, "ticket": answer.json["ticket"], "password": password})


class Case(unittest.TestCase):
    """One service for a class of tests."""

    settings = ""
    environment = None

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.service = Service(cls.temporary.name, cls.settings, cls.environment)

    @classmethod
    def tearDownClass(cls):
        status = cls.service.stop()
        log = cls.service.log_text()
        cls.temporary.cleanup()
        if status != 0:
            raise AssertionError(f"the service ended with {status}:\n{log}")

    def audit(self):
        return [json.loads(line.split(" ", 1)[1])
                for line in self.service.audit_text().splitlines()]

    def assert_refused(self, answer, status, code):
        self.assertEqual((answer.status, answer.error), (status, code), answer.body)

    def stored(self, **fields):
        """Registers one envelope; returns its id in hex."""
        identity = envelope_id()
        answer = self.service.store(batch(record(identity, **fields)))
        self.assertEqual(answer.status, 200, answer.body)
        return identity.hex()


def main():
    """All tests of the file, or the classes that the command names."""
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])

"""Passkeys, with authenticators of our own: every algorithm, and everything that is not quite an assertion."""
import hashlib
import json
import os
import struct
import subprocess
import tempfile
import time

import keyd

PASSWORD = "correct horse battery"
PRESENT, VERIFIED, CREDENTIAL = 1, 4, 64
ES256, EDDSA, RS256 = -7, -8, -257


def head(major, number):
    for limit, code, form in ((24, None, None), (1 << 8, 24, ">B"), (1 << 16, 25, ">H")):
        if number < limit:
            return (bytes([major << 5 | number]) if code is None
                    else bytes([major << 5 | code]) + struct.pack(form, number))
    raise ValueError(number)


def cbor(value):
    """As much of RFC 8949 as a COSE key needs."""
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())


class Authenticator:
    """One credential, with a key that openssl makes and signs with."""

    KINDS = {ES256: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
             EDDSA: ["-algorithm", "ed25519"],
             RS256: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]}

    def __init__(self, service, folder, algorithm=ES256):
        self.folder, self.algorithm, self.counter = folder, algorithm, 1
        self.rp, self.origin = "localhost", f"https://localhost:{service.public}"
        self.credential = os.urandom(32)
        self.handle = ""
        self.path = os.path.join(folder, self.credential.hex()[:16] + ".pem")
        self.openssl("genpkey", *self.KINDS[algorithm], "-out", self.path)

    def openssl(self, *words, given=None):
        return subprocess.run(["openssl", *words], input=given, check=True, capture_output=True,
                              timeout=keyd.WAIT_S).stdout

    def public(self):
        der = self.openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")
        if self.algorithm == ES256:
            return cbor({1: 2, 3: ES256, -1: 1, -2: der[-64:-32], -3: der[-32:]})
        if self.algorithm == EDDSA:
            return cbor({1: 1, 3: EDDSA, -1: 6, -2: der[-32:]})
        modulus = self.openssl("rsa", "-in", self.path, "-noout", "-modulus").split(b"=")[1]
        return cbor({1: 3, 3: RS256, -1: bytes.fromhex(modulus.decode()), -2: b"\x01\x00\x01"})

    def sign(self, message):
        name = self.path + ".in"
        with open(name, "wb") as file:
            file.write(message)
        if self.algorithm == EDDSA:
            return self.openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", name)
        return self.openssl("dgst", "-sha256", "-sign", self.path, name)

    def data(self, flags, more=b"", rp=None):
        return (hashlib.sha256((rp or self.rp).encode()).digest() +
                struct.pack(">BI", flags, self.counter) + more)

    def client(self, kind, challenge, **more):
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin,
                           "crossOrigin": False, **more}).encode()

    def make(self, challenge, flags=PRESENT | VERIFIED | CREDENTIAL, rp=None, kind="webauthn.create",
             **more):
        attested = bytes(16) + struct.pack(">H", len(self.credential)) + self.credential
        return {"client": keyd.encode(self.client(kind, challenge, **more)),
                "authenticator": keyd.encode(self.data(flags, attested + self.public(), rp))}

    def answer(self, challenge, flags=PRESENT | VERIFIED, rp=None, kind="webauthn.get", step=1,
               **more):
        self.counter += step
        data, client = self.data(flags, rp=rp), self.client(kind, challenge, **more)
        return {"id": keyd.encode(self.credential), "client": keyd.encode(client),
                "authenticator": keyd.encode(data), "handle": self.handle,
                "signature": keyd.encode(self.sign(data + hashlib.sha256(client).digest()))}


class Passkeys(keyd.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.keys.cleanup)
        cls.count = 0

    def person(self):
        Passkeys.count += 1
        user = f"person{self.count}@example.org"
        self.service.account(user, PASSWORD)
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(user, PASSWORD).status, 200)
        return user, browser

    def challenge(self, browser):
        return browser.call("GET", "/v1/challenge").json

    def add(self, browser, authenticator, name="My key", **more):
        asked = self.challenge(browser)
        authenticator.handle = asked["handle"]
        return browser.call("POST", "/v1/account/passkeys",
                            {"name": name, **authenticator.make(asked["challenge"], **more)})

    def made(self, algorithm=ES256):
        user, browser = self.person()
        authenticator = Authenticator(self.service, self.keys.name, algorithm)
        answer = self.add(browser, authenticator)
        self.assertEqual(answer.status, 200, answer.body)
        return user, browser, authenticator

    def sign_in(self, authenticator, browser=None, **more):
        browser = browser or keyd.Browser(self.service)
        challenge = self.challenge(browser)["challenge"]
        return browser.call("POST", "/v1/session/passkey", authenticator.answer(challenge, **more))

    def refused(self, answer):
        self.assert_refused(answer, 401, "credentials")

    def test_every_algorithm_signs_in_without_an_address(self):
        for algorithm in (ES256, EDDSA, RS256):
            user, _, authenticator = self.made(algorithm)
            browser = keyd.Browser(self.service)
            answer = self.sign_in(authenticator, browser)
            self.assertEqual((answer.status, answer.json["user"]), (200, user), answer.body)
            self.assertEqual(browser.call("GET", "/v1/session").json["user"], user)
        self.assertIn(("passkey", user), [(line.get("outcome"), line.get("user"))
                                          for line in self.audit() if line["event"] == "sign_in"])
        self.assertIn("passkey", self.service.mail(user)["Subject"].lower())

    def test_it_counts_as_a_typed_password_for_one_high_message(self):
        user, _, authenticator = self.made()
        one, two = (self.stored(to=(user,), level=keyd.HIGH) for _ in range(2))
        browser = keyd.Browser(self.service)
        self.sign_in(authenticator, browser)
        def release(identity):
            return browser.call("POST", "/v1/release", {"m": identity, "pub": keyd.public_key()})
        self.assertEqual(release(one).status, 200)
        self.refused(release(two))
        self.sign_in(authenticator, browser)
        self.assertEqual(release(two).status, 200)

    def test_an_answer_of_another_origin_site_or_kind_is_refused(self):
        _, _, authenticator = self.made()
        for more in ({"origin": "https://localhost"}, {"origin": "https://evil.example"},
                     {"origin": "http" + authenticator.origin[5:]}, {"crossOrigin": True},
                     {"kind": "webauthn.create"}, {"rp": "evil.example"}, {"flags": PRESENT},
                     {"flags": VERIFIED}, {"flags": 0}):
            self.refused(self.sign_in(authenticator, **more))
        self.assertEqual(self.sign_in(authenticator).status, 200)

    def test_a_challenge_is_this_browsers_and_good_once(self):
        _, _, authenticator = self.made()
        one, two = keyd.Browser(self.service), keyd.Browser(self.service)
        other = self.challenge(one)["challenge"]
        self.refused(two.call("POST", "/v1/session/passkey", authenticator.answer(other)))
        for challenge in ("", "A" * 86, other[:-2] + "AA", other + "A"):
            self.refused(one.call("POST", "/v1/session/passkey", authenticator.answer(challenge)))
        answer = authenticator.answer(other)
        before = dict(one.cookies), one.csrf
        self.assertEqual(one.call("POST", "/v1/session/passkey", answer).status, 200)
        one.cookies, one.csrf = dict(before[0]), before[1]
        self.refused(one.call("POST", "/v1/session/passkey", answer))
        # Not with a higher counter either: the challenge is spent.
        one.cookies, one.csrf = before
        self.refused(one.call("POST", "/v1/session/passkey", authenticator.answer(other)))

    def test_a_copied_authenticator_shows(self):
        user, _, authenticator = self.made()
        self.assertEqual(self.sign_in(authenticator).status, 200)
        self.refused(self.sign_in(authenticator, step=0))
        self.refused(self.sign_in(authenticator, step=-1))
        self.assertIn(("cloned", user), [(line.get("outcome"), line.get("user"))
                                         for line in self.audit() if line["event"] == "passkey"])

    def test_one_that_does_not_count_is_taken(self):
        _, browser = self.person()
        authenticator = Authenticator(self.service, self.keys.name)
        authenticator.counter = 0
        self.assertEqual(self.add(browser, authenticator).status, 200)
        for _ in range(2):
            self.assertEqual(self.sign_in(authenticator, step=0).status, 200)

    def test_anothers_credential_key_or_name_is_refused(self):
        _, _, one = self.made()
        _, _, two = self.made()
        stranger = Authenticator(self.service, self.keys.name)
        self.refused(self.sign_in(stranger))  # no such credential
        stranger.credential, stranger.handle = one.credential, one.handle
        self.refused(self.sign_in(stranger))  # not its key
        one.handle = two.handle
        self.refused(self.sign_in(one))  # an authenticator that means another account
        one.handle = ""
        self.assertEqual(self.sign_in(one).status, 200)

    def test_damaged_answers_are_refused(self):
        _, _, authenticator = self.made()
        browser = keyd.Browser(self.service)
        for field in ("id", "client", "authenticator", "signature"):
            challenge = self.challenge(browser)["challenge"]
            good = authenticator.answer(challenge)
            raw = keyd.decode(good[field])
            for bad in (keyd.encode(bytes([raw[0] ^ 1]) + raw[1:]), keyd.encode(raw[:-1]), "", "!",
                        keyd.encode(raw + b"\0")):
                self.refused(browser.call("POST", "/v1/session/passkey", {**good, field: bad}))
        answer = browser.call("POST", "/v1/session/passkey", {"id": "x"})
        self.assert_refused(answer, 400, "bad_request")
        for client in (b"{", b"[]", b"[" * 3000, b'{"type":"webauthn.get"}', b"\xff"):
            good = authenticator.answer(self.challenge(browser)["challenge"])
            self.refused(browser.call("POST", "/v1/session/passkey",
                                      {**good, "client": keyd.encode(client)}))

    def test_registrations_are_looked_at_too(self):
        _, browser = self.person()
        authenticator = Authenticator(self.service, self.keys.name)
        for more in ({"origin": "https://evil.example"}, {"kind": "webauthn.get"},
                     {"rp": "evil.example"}, {"flags": PRESENT | CREDENTIAL},
                     {"flags": VERIFIED | CREDENTIAL}, {"crossOrigin": True}):
            self.refused(self.add(browser, authenticator, **more))
        asked = self.challenge(browser)["challenge"]
        whole = authenticator.make(asked)
        data = keyd.decode(whole["authenticator"])
        for bad in (data[:40], data[:-1], data[:37]):
            self.refused(browser.call("POST", "/v1/account/passkeys",
                                      {"name": "x", **whole, "authenticator": keyd.encode(bad)}))
        for name in ("", "a\nb", "x" * 64):
            answer = browser.call("POST", "/v1/account/passkeys", {"name": name, **whole})
            self.assert_refused(answer, 400, "bad_request")
        self.assertEqual(browser.call("POST", "/v1/account/passkeys",
                                      {"name": "x", **whole}).status, 200)
        self.refused(browser.call("POST", "/v1/account/passkeys", {"name": "x", **whole}))  # spent
        self.assert_refused(self.add(browser, authenticator), 409, "conflict")
        _, other = self.person()
        self.assert_refused(self.add(other, authenticator), 409, "conflict")

    def test_they_are_named_and_removed_by_their_owner(self):
        _, browser, authenticator = self.made()
        _, other = self.person()
        listed = browser.call("GET", "/v1/account").json["passkeys"]
        self.assertEqual([(key["name"], key["credential"]) for key in listed],
                         [("My key", keyd.encode(authenticator.credential))])
        path = "/v1/account/passkeys/" + listed[0]["id"]
        for who, status in ((other, 404), (browser, 200)):
            self.assertEqual(who.call("POST", path, {"name": "Telefon ☎"}).status, status)
        self.assertEqual(browser.call("GET", "/v1/account").json["passkeys"][0]["name"], "Telefon ☎")
        for who, status in ((other, 404), (browser, 200), (browser, 404)):
            self.assertEqual(who.call("DELETE", path, {}).status, status)
        self.refused(self.sign_in(authenticator))

    def test_the_operator_disables_accounts_and_removes_passkeys(self):
        user, browser, authenticator = self.made()
        self.service.run("account", "disable", user)
        self.refused(self.sign_in(authenticator))
        self.service.run("account", "enable", user)
        self.assertEqual(self.sign_in(authenticator).status, 200)
        self.service.run("account", "remove-passkeys", user)
        self.assertIsNone(browser.call("GET", "/v1/session").json["user"])
        self.refused(self.sign_in(authenticator))

    def test_many_wrong_answers_have_to_wait(self):
        stranger = Authenticator(self.service, self.keys.name)
        browser = keyd.Browser(self.service, source="127.9.9.9")
        answer = stranger.answer(self.challenge(browser)["challenge"])
        statuses = [browser.call("POST", "/v1/session/passkey", answer).status for _ in range(102)]
        self.assertEqual(statuses[0], 401)
        self.assertEqual(statuses[-1], 429)

    def test_neighbours_lock_nobody_out_of_a_known_browser(self):
        _, _, authenticator = self.made()
        known = keyd.Browser(self.service, source="127.9.8.8")
        self.assertEqual(self.sign_in(authenticator, known).status, 200)
        neighbour = keyd.Browser(self.service, source="127.9.8.8")
        answer = authenticator.answer(self.challenge(neighbour)["challenge"])
        answer["signature"] = keyd.encode(b"wrong")
        statuses = [neighbour.call("POST", "/v1/session/passkey", answer).status for _ in range(102)]
        self.assertEqual((statuses[0], statuses[-1]), (401, 429))
        self.assertEqual(self.sign_in(authenticator, known).status, 200)
        # Which has an allowance of its own, not none.
        answer = authenticator.answer(self.challenge(known)["challenge"])
        answer["signature"] = keyd.encode(b"wrong")
        statuses = [known.call("POST", "/v1/session/passkey", answer).status for _ in range(12)]
        self.assertEqual((statuses[0], statuses[-1]), (401, 429))


if __name__ == "__main__":
    keyd.main()

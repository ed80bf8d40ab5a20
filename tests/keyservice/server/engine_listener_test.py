"""What engines may do: who is let in, what is stored, what is refused."""
import json
import os
import ssl
import subprocess
import tempfile

import keyd


def result_ids(answer):
    return [(one["id"], one["status"]) for one in answer.json["results"]]


class Identity(keyd.Case):
    def make_certificate(self, folder, usage, ca="ca"):
        """A certificate by the service's authority, or by a stranger's, for a usage."""
        stem = os.path.join(folder, "other")
        sign = ["-CA", self.service.path("ca.crt"), "-CAkey", self.service.path("ca.key")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other", "-days", "2",
                        "-keyout", stem + ".key", "-out", stem + ".crt", "-addext",
                        "extendedKeyUsage=" + usage, *(sign if ca == "ca" else [])],
                       check=True, capture_output=True)
        return stem

    def assert_cut(self, certificate):
        """The handshake is refused, so nothing of a request is even read."""
        with self.assertRaises((ssl.SSLError, ConnectionError, keyd.http.client.RemoteDisconnected)):
            self.service.call("POST", "/v1/envelopes", keyd.batch(keyd.record()),
                              {"Content-Type": keyd.BATCH_TYPE}, self.service.engine, certificate)

    def test_an_engine_without_certificate_is_refused(self):
        self.assert_cut(None)

    def test_a_certificate_of_another_authority_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assert_cut(self.make_certificate(folder, "clientAuth", ca=None))

    def test_a_certificate_for_servers_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assert_cut(self.make_certificate(folder, "serverAuth"))

    def test_the_servers_own_certificate_is_refused(self):
        self.assert_cut(self.service.path("server"))

    def test_a_good_certificate_that_was_not_enrolled_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            answer = self.service.store(keyd.batch(keyd.record()),
                                        self.make_certificate(folder, "clientAuth"))
        self.assert_refused(answer, 403, "forbidden")

    def test_old_tls_is_refused(self):
        context = self.service.tls(self.service.path("engine"))
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        connection = keyd.http.client.HTTPSConnection("localhost", self.service.public,
                                                      context=context)
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            connection.request("GET", "/v1/health")

    def test_the_public_listener_takes_no_batches(self):
        answer = self.service.call("POST", "/v1/envelopes", keyd.batch(keyd.record()),
                                   {"Content-Type": keyd.BATCH_TYPE})
        self.assert_refused(answer, 404, "unknown")


class Enrolment(keyd.Case):
    def enrol(self, folder, code, csr=None):
        stem = os.path.join(folder, "new")
        if csr is None:
            subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=anything",
                            "-keyout", stem + ".key", "-out", stem + ".csr"],
                           check=True, capture_output=True)
            with open(stem + ".csr", encoding="ascii") as file:
                csr = file.read()
        answer = self.service.call("POST", "/v1/enrol", json.dumps({"code": code, "csr": csr}))
        if answer.status == 200:
            with open(stem + ".crt", "w", encoding="ascii") as file:
                file.write(answer.json["certificate"])
        return answer, stem

    def code(self, name):
        return self.service.run("engine", "add", name).stdout.strip()

    def test_an_enrolled_engine_registers_until_it_is_revoked(self):
        with tempfile.TemporaryDirectory() as folder:
            answer, stem = self.enrol(folder, self.code("mail-1"))
            self.assertEqual(answer.status, 200, answer.body)
            with open(self.service.path("ca.crt"), encoding="ascii") as file:
                self.assertEqual(answer.json["ca"], file.read())
            self.assertEqual(self.service.store(keyd.batch(keyd.record()), stem).status, 200)
            self.assertIn("enrolled", self.service.run("engine", "list").stdout)
            self.service.run("engine", "revoke", "mail-1")
            answer = self.service.store(keyd.batch(keyd.record()), stem)
            self.assert_refused(answer, 403, "forbidden")

    def test_a_code_works_once(self):
        code = self.code("mail-2")
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(self.enrol(folder, code)[0].status, 200)
        with tempfile.TemporaryDirectory() as folder:
            self.assert_refused(self.enrol(folder, code)[0], 401, "credentials")

    def test_a_bad_request_does_not_spend_the_code(self):
        code = self.code("mail-3")
        with tempfile.TemporaryDirectory() as folder:
            self.assert_refused(self.enrol(folder, code, "no request")[0], 400, "bad_request")
            self.assertEqual(self.enrol(folder, code)[0].status, 200)

    def test_a_request_whose_signature_is_wrong_is_refused(self):
        code = self.code("mail-4")
        with tempfile.TemporaryDirectory() as folder:
            _, stem = self.enrol(folder, "wrong")
            der = subprocess.run(["openssl", "req", "-in", stem + ".csr", "-outform", "DER"],
                                 check=True, capture_output=True).stdout
            bad = der[:-1] + bytes([der[-1] ^ 1])
            pem = ("-----BEGIN CERTIFICATE REQUEST-----\n" +
                   keyd.base64.encodebytes(bad).decode() + "-----END CERTIFICATE REQUEST-----\n")
            self.assert_refused(self.enrol(folder, code, pem)[0], 400, "bad_request")

    def test_a_revoked_name_has_no_codes_left(self):
        code = self.code("mail-5")
        self.service.run("engine", "revoke", "mail-5")
        with tempfile.TemporaryDirectory() as folder:
            self.assert_refused(self.enrol(folder, code)[0], 401, "credentials")

    def test_a_wrong_code_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assert_refused(self.enrol(folder, "abcdef-abcdef-abcdef-abcdef")[0], 401,
                                "credentials")

    def test_an_engine_that_was_never_there_cannot_be_revoked(self):
        self.assertEqual(self.service.run("engine", "revoke", "nobody", check=False).returncode, 67)


class Batches(keyd.Case):
    def test_512_records_are_stored_and_sent_again_are_stored(self):
        ids = [keyd.envelope_id() for _ in range(512)]
        body = keyd.batch(*(keyd.record(one) for one in ids))
        for _ in range(2):
            answer = self.service.store(body)
            self.assertEqual(answer.status, 200)
            self.assertEqual(result_ids(answer), [(one.hex(), "stored") for one in ids])

    def test_a_named_batch_that_is_stored_is_answered_by_its_name(self):
        body = keyd.batch(*(keyd.record() for _ in range(512)))
        for name in (keyd.secrets.token_hex(16), keyd.secrets.token_hex(16)):
            answer = self.service.store(body, name=name)
            self.assertEqual((answer.status, answer.json), (200, {"stored": 512, "batch": name}))

    def test_a_named_batch_with_a_conflict_is_told_record_by_record(self):
        identity, other = keyd.envelope_id(), keyd.envelope_id()
        self.assertEqual(self.service.store(keyd.batch(keyd.record(identity))).status, 200)
        answer = self.service.store(keyd.batch(keyd.record(other), keyd.record(identity)),
                                    name=keyd.secrets.token_hex(16))
        self.assertEqual(answer.status, 409)
        self.assertEqual(result_ids(answer), [(other.hex(), "stored"), (identity.hex(), "conflict")])

    def test_names_that_are_no_names_are_refused_and_nothing_is_stored(self):
        identity = keyd.envelope_id()
        for name in ("0" * 31, "0" * 33, "A" * 32, "0" * 31 + '"', " ".join("0" * 16) + "0", "x"):
            self.assert_refused(self.service.store(keyd.batch(keyd.record(identity)), name=name),
                                400, "bad_request")
        self.assertEqual(self.service.store(keyd.batch(keyd.record(identity))).status, 200)

    def test_513_records_are_refused(self):
        body = keyd.batch(*(keyd.record() for _ in range(513)))
        self.assert_refused(self.service.store(body), 400, "bad_request")

    def test_the_same_id_with_another_record_is_a_conflict(self):
        identity, other = keyd.envelope_id(), keyd.envelope_id()
        self.assertEqual(self.service.store(keyd.batch(keyd.record(identity))).status, 200)
        answer = self.service.store(keyd.batch(keyd.record(other), keyd.record(identity)))
        self.assertEqual(answer.status, 409)
        self.assertEqual(result_ids(answer), [(other.hex(), "stored"), (identity.hex(), "conflict")])

    def test_a_key_that_differs_in_one_bit_is_a_conflict(self):
        identity = keyd.envelope_id()
        fields = {"identity": identity, "sent": 1700000000000}
        one = keyd.record(key=bytes(32), **fields)
        self.assertEqual(self.service.store(keyd.batch(one)).status, 200)
        other = keyd.record(key=bytes(31) + b"\x01", **fields)
        self.assertEqual(self.service.store(keyd.batch(other)).status, 409)
        self.assertEqual(self.service.store(keyd.batch(one)).status, 200)

    def test_a_batch_with_one_bad_record_stores_nothing(self):
        identity = keyd.envelope_id()
        good, bad = keyd.record(identity), bytearray(keyd.record())
        bad[4] = 9  # no such suite
        self.assert_refused(self.service.store(keyd.batch(good, bytes(bad))), 400, "bad_request")
        other = keyd.record(identity, subject="nothing was stored, so this is no conflict")
        self.assertEqual(self.service.store(keyd.batch(other)).status, 200)

    def test_malformed_batches_are_refused(self):
        good = keyd.batch(keyd.record())
        for body in (b"", b"x", good[:-1], good + b"\0", b"BKB2" + good[4:], good[:12],
                     good[:4] + b"\0\0\0\0" + good[8:], good[:12] + b"\1" + good[13:]):
            self.assert_refused(self.service.store(body), 400, "bad_request")

    def test_another_content_type_is_refused(self):
        answer = self.service.store(keyd.batch(keyd.record()), kind="application/json")
        self.assert_refused(answer, 400, "bad_request")

    def test_a_batch_over_the_limit_is_refused_unread(self):
        connection = keyd.http.client.HTTPSConnection(
            "localhost", self.service.engine, context=self.service.tls(self.service.path("engine")))
        connection.putrequest("POST", "/v1/envelopes")
        connection.putheader("Content-Type", keyd.BATCH_TYPE)
        connection.putheader("Content-Length", str(4 * 1024 * 1024 + 1))
        connection.endheaders()
        self.assert_refused(keyd.Answer(connection.getresponse()), 413, "too_large")
        connection.close()

    def test_no_key_stands_in_any_file(self):
        key = keyd.secrets.token_bytes(32)
        self.stored(key=key)
        for name in os.listdir(self.service.dir):
            if os.path.isfile(self.service.path(name)):
                with open(self.service.path(name), "rb") as file:
                    self.assertNotIn(key, file.read(), name)


class Durability(keyd.Case):
    def test_what_was_answered_survives_a_kill(self):
        ids = []
        for _ in range(5):
            identity = keyd.envelope_id()
            one = keyd.record(identity, sent=1700000000000, key=bytes(32))
            self.assertEqual(self.service.store(keyd.batch(one)).status, 200)
            ids.append(one)
        self.service.stop(9)
        self.service.start()
        for one in ids:
            self.assertEqual(self.service.store(keyd.batch(one)).status, 200)
            changed = bytearray(one)
            changed[60] ^= 1  # within the key
            self.assertEqual(self.service.store(keyd.batch(bytes(changed))).status, 409)

    def test_a_new_master_key_leaves_old_records_the_same(self):
        one = keyd.record(keyd.envelope_id(), sent=1700000000000)
        self.assertEqual(self.service.store(keyd.batch(one)).status, 200)
        self.service.run("master-key", "add")
        self.assertEqual(self.service.stop(), 0)
        self.service.start()
        self.assertEqual(self.service.store(keyd.batch(one)).status, 200)
        self.stored()


if __name__ == "__main__":
    keyd.main()

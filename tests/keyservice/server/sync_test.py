"""What was answered is on the disk: every sync is seen, and one that fails is not answered over."""
import os
import tempfile

import keyd

WAL, AUDIT = "keys.db-wal", "audit.log"


class Syncs(keyd.Case):
    settings = 'confine = "no"\n'  # what stands between has files of its own

    @classmethod
    def setUpClass(cls):
        cls.notes = tempfile.TemporaryDirectory()
        cls.log = os.path.join(cls.notes.name, "log")
        cls.failing = os.path.join(cls.notes.name, "fail")
        options = os.environ.get("ASAN_OPTIONS", "")
        cls.environment = {"LD_PRELOAD": os.environ["BULLA_SYNC_SHIM"], "BULLA_SYNC_LOG": cls.log,
                           "BULLA_SYNC_FAIL": cls.failing,
                           "ASAN_OPTIONS": options + ":verify_asan_link_order=0"}
        super().setUpClass()
        cls.service.account("bob@example.org", "correct horse battery")

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.notes.cleanup()

    def tearDown(self):
        self.fail_none()

    def fail_syncs_of(self, name):
        with open(self.failing + ".part", "w", encoding="ascii") as file:
            file.write(name)
        os.rename(self.failing + ".part", self.failing)

    def fail_none(self):
        if os.path.exists(self.failing):
            os.unlink(self.failing)

    def syncs(self, name):
        with open(self.log, encoding="ascii") as file:
            return file.read().split("\n").count(name)

    def open(self, identity):
        return self.service.open(user="bob@example.org", password="correct horse battery",
                                 m=identity, pub=keyd.public_key())

    def test_every_batch_is_synced_before_its_answer(self):
        for _ in range(5):
            before = self.syncs(WAL)
            self.assertEqual(self.service.store(keyd.batch(keyd.record())).status, 200)
            self.assertGreater(self.syncs(WAL), before)

    def test_every_release_is_synced_before_its_answer(self):
        identity = self.stored()
        for _ in range(5):
            before = self.syncs(AUDIT)
            self.assertEqual(self.open(identity).status, 200)
            self.assertGreater(self.syncs(AUDIT), before)

    def test_a_batch_that_cannot_be_synced_is_not_answered_as_stored(self):
        one = keyd.batch(keyd.record())
        self.fail_syncs_of(WAL)
        for _ in range(2):
            self.assert_refused(self.service.store(one), 503, "away")
        self.assert_refused(self.service.call("GET", "/v1/health"), 503, "away")
        self.fail_none()
        self.assertEqual(self.service.store(one).status, 200)
        self.assertEqual(self.service.call("GET", "/v1/health").status, 200)

    def test_a_release_that_cannot_be_synced_is_not_answered_until_a_restart(self):
        """The kernel reports a failed write-back once: a later sync that succeeds proves nothing."""
        identity = self.stored()
        self.assertEqual(self.open(identity).status, 200)
        self.fail_syncs_of(AUDIT)
        self.assert_refused(self.open(identity), 503, "away")
        self.fail_none()
        for _ in range(2):
            self.assert_refused(self.open(identity), 503, "away")
        self.assertEqual(self.service.stop(), 0)
        self.service.start()
        self.assertEqual(self.open(identity).status, 200)
        self.assertIn("unbroken", self.service.run("audit", "verify").stdout)


if __name__ == "__main__":
    keyd.main()

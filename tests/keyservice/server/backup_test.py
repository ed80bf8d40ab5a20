"""A backup while the service is at work, and the way back from it."""
import contextlib
import os
import sqlite3
import stat
import threading

import keyd

PASSWORD = "correct horse battery"


class Backup(keyd.Case):
    def setUp(self):
        self.count = len(os.listdir(self.service.folder))
        self.file = os.path.join(self.service.folder, f"backup-{self.count}")

    def released(self, identity):
        return self.service.open(m=identity, pub=keyd.public_key()).status

    def test_what_was_stored_before_it_is_there_after_a_restore(self):
        before = [self.stored(level=keyd.NONE) for _ in range(5)]
        stop = threading.Event()
        acknowledged = []

        def load():
            while not stop.is_set():
                ids = [keyd.envelope_id() for _ in range(100)]
                body = keyd.batch(*(keyd.record(i, level=keyd.NONE) for i in ids))
                if self.service.store(body).status == 200:
                    acknowledged.append(ids[0].hex())

        thread = threading.Thread(target=load)
        thread.start()
        try:
            while len(acknowledged) < 3:
                stop.wait(0.01)
            before += acknowledged
            self.assertIn("master keys", self.service.run("backup", self.file).stdout)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        after = self.stored(level=keyd.NONE)

        done = self.service.run("restore", self.file, check=False)
        self.assertEqual(done.returncode, 75, done.stderr)
        self.assertIn("stop it first", done.stderr)
        self.service.stop()
        self.service.run("restore", self.file)
        self.service.start()
        self.assertEqual([self.released(identity) for identity in before], [200] * len(before))
        self.assertEqual(self.released(after), 401)  # stored since, and so unknown again
        self.assertEqual([line["event"] for line in self.audit()
                          if line["event"] in ("backup", "restore")][-2:], ["backup", "restore"])
        self.assertIn("unbroken", self.service.run("audit", "verify").stdout)

    def test_what_waited_then_is_not_sent_again(self):
        self.service.run("backup", self.file)
        with contextlib.closing(sqlite3.connect(self.file)) as db, db:
            db.execute("INSERT INTO outbox VALUES (x'01', x'02', 'a@b', 'a@b', 1, 3, 4)")
            db.execute("INSERT INTO outbox_to VALUES (x'01', 0, 'c@d', 1 << 60, 0)")
            db.execute("INSERT INTO outbox_part VALUES (x'02', 0, 4, x'00')")
            db.execute("INSERT INTO notice VALUES (NULL, 1, x'03', 'c@d', 5)")
            db.execute("INSERT INTO reset VALUES ('c@d', x'00', x'00', 'p', 1, 1 << 60, 0)")

        def left():
            with contextlib.closing(sqlite3.connect(self.service.path("keys.db"))) as db:
                return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                        for table in ("outbox", "outbox_to", "outbox_part", "notice", "reset")]
        self.service.stop()
        said = self.service.run("restore", "--keep-outbox", self.file).stdout
        self.assertNotIn("waited", said)
        self.assertEqual(left(), [1, 1, 1, 1, 0])
        said = self.service.run("restore", self.file).stdout
        self.assertIn("1 mails and 1 notices that waited", said)
        self.assertEqual(left(), [1, 0, 0, 0, 0])
        self.service.start()

    def test_nothing_that_is_there_is_overwritten(self):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write("mine")
        done = self.service.run("backup", self.file, check=False)
        self.assertEqual(done.returncode, 73, done.stderr)
        with open(self.file, encoding="utf-8") as file:
            self.assertEqual(file.read(), "mine")
        self.assertFalse(os.path.exists(self.file + ".part"))

    def test_a_file_that_is_no_backup_changes_nothing(self):
        identity = self.stored(level=keyd.NONE)
        with open(self.file, "w", encoding="utf-8") as file:
            file.write("not a database" * 1000)
        self.service.stop()
        done = self.service.run("restore", self.file, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.service.start()
        self.assertEqual(self.released(identity), 200)

    def test_a_backup_of_other_master_keys_is_refused(self):
        self.service.run("backup", self.file)
        identity = self.stored(level=keyd.NONE)
        self.service.stop()
        key = self.service.path("master.key")
        with open(key, "rb") as file:
            right = file.read()
        os.unlink(key)
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(b"bulla-master-key 1\n1 " + b"5" * 64 + b"\n")
        done = self.service.run("restore", self.file, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("master key 1", done.stderr)
        with open(key, "wb") as file:
            file.write(right)
        self.service.start()
        self.assertEqual(self.released(identity), 200)


if __name__ == "__main__":
    keyd.main()

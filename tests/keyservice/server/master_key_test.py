"""An old master key's end: all that it wrapped comes under a new one, and then it is gone."""
import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest

import keyd
from code_app import CodeApp

PASSWORD = "correct horse battery"
BOB = "bob@example.org"
DIE_MAX = 200  # changes of what the disk holds that a retirement takes at most


class Key(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.service = keyd.Service(self.temporary.name)
        self.addCleanup(self.service.stop)
        self.service.account(BOB, PASSWORD)

    def stored(self):
        identity = keyd.envelope_id()
        self.assertEqual(self.service.store(keyd.batch(keyd.record(identity))).status, 200)
        return identity.hex()

    def opens(self, identity, **more):
        answer = self.service.open(user=BOB, password=PASSWORD, m=identity, pub=keyd.public_key(),
                                   **more)
        self.assertEqual(answer.status, 200, answer.body)

    def rows(self, version):
        line = self.service.run("master-key", "list").stdout.splitlines()[version].split()
        return line[1], int(line[2]), int(line[3])

    def rewrapped(self, version):
        """A running service does it by itself."""
        until = time.monotonic() + keyd.WAIT_S
        while f"version {version}: every key" not in self.service.run("master-key", "status").stdout:
            self.assertLess(time.monotonic(), until, self.service.log_text())
            time.sleep(0.05)

    def restart(self):
        self.assertEqual(self.service.stop(), 0)
        self.service.start()

    def retire(self, check=True):
        return self.service.run("master-key", "retire", "1", check=check)

    def key_file(self):
        with open(self.service.path("master.key"), encoding="ascii") as file:
            return file.read()


class Retire(Key):
    def factor_on(self):
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(BOB, PASSWORD).status, 200)
        secret = browser.call("POST", "/v1/account/totp", {}).json["secret"]
        app = CodeApp(secret)
        answer = app.confirm(browser)
        self.assertEqual(answer.status, 200, answer.body)
        return browser, app, answer.json["codes"]

    def test_a_running_service_takes_up_a_new_key_when_it_is_started_again(self):
        self.service.run("master-key", "add")
        self.service.process.send_signal(signal.SIGHUP)
        identity = self.stored()
        self.assertEqual([self.rows(1), self.rows(2)], [("older", 1, 0), ("newest", 0, 0)])
        self.restart()
        self.rewrapped(2)
        self.stored()
        self.assertEqual([self.rows(1), self.rows(2)], [("older", 0, 0), ("newest", 2, 0)])
        self.opens(identity)

    def test_all_goes_on_without_it(self):
        before = self.stored()
        browser, app, codes = self.factor_on()
        old = re.search("^1 ([0-9a-f]{64})$", self.key_file(), re.M)[1]
        self.service.run("master-key", "add")
        self.assertIn("newest master key is 2", self.service.run(
            "master-key", "retire", "2", check=False).stderr)
        refused = self.retire(check=False)
        self.assertEqual(refused.returncode, 75, refused.stderr)
        self.assertIn("stop it first", refused.stderr)
        self.service.stop()
        refused = self.retire(check=False)
        self.assertEqual(refused.returncode, 65, refused.stderr)
        self.assertIn("1 keys of messages and 1 secrets of code apps", refused.stderr)
        self.assertIn("master-key rewrap", refused.stderr)
        self.service.start()
        after = self.stored()
        self.service.stop()
        self.service.run("master-key", "rewrap")
        self.assertEqual([self.rows(1), self.rows(2)], [("older", 0, 0), ("newest", 2, 1)])
        self.assertIn("version 1 is retired", self.retire().stdout)
        self.assertNotIn(old, self.key_file())
        self.assertEqual([name for name in os.listdir(self.service.dir) if "master.key" in name],
                         ["master.key"])
        self.assertEqual(os.stat(self.service.path("master.key")).st_mode & 0o777, 0o600)
        self.service.start()
        self.assertEqual(self.rows(1)[0], "retired")
        # What hangs on secrets that are derived of it goes on: a session's token, codes, sign-ins.
        browser.service = self.service
        self.assertEqual(browser.call("POST", "/v1/language", {"language": "de"}).status, 200)
        self.opens(before, totp=app.code())
        self.opens(after, totp=codes[0])
        self.opens(self.stored(), totp=codes[1])
        self.restart()
        self.opens(before, totp=codes[2])
        events = self.service.audit_text()
        for event in ('"event":"master_key_add","detail":"2"',
                      '"event":"master_key_retire","detail":"1"'):
            self.assertEqual(len(re.findall(event.replace(",", ".*,"), events)), 1, event)
        self.assertNotIn("master_key_left", self.service.log_text())
        self.assertIn("unbroken", self.service.run("audit", "verify").stdout)
        # Done already: nothing is left to do, beside a running service too.
        self.assertIn("version 1 is retired", self.retire().stdout)

    def test_an_operator_brings_all_keys_under_it_where_nobody_serves(self):
        before = self.stored()
        self.service.run("master-key", "add")
        self.service.stop()
        self.assertIn("version 2: every key is under it; 1 were",
                      self.service.run("master-key", "rewrap").stdout)
        self.retire()
        self.service.start()
        self.opens(before)

    def test_another_machines_copy_of_the_file_is_named_and_mended(self):
        before = self.stored()
        self.service.run("master-key", "add")
        copy = self.key_file()
        self.service.stop()
        self.service.run("master-key", "rewrap")
        self.retire()
        with open(self.service.path("master.key"), "w", encoding="ascii") as file:
            file.write(copy)
        self.service.start()
        self.assertIn("master_key_left version=1", self.service.log_text())
        self.opens(before)
        self.assertEqual(self.rows(1)[0], "left")
        self.retire()
        self.assertNotEqual(self.key_file(), copy)
        self.service.run("master-key", "add")
        self.service.stop()
        self.service.run("master-key", "rewrap")
        self.service.start()
        self.opens(before)
        self.assertEqual([self.rows(i)[:2] for i in (1, 2, 3)],
                         [("retired", 0), ("older", 0), ("newest", 1)])


@unittest.skipIf("BULLA_POSTGRESQL" in os.environ, "files of SQLite")
class Database(Key):
    def test_a_backup_from_before_is_refused_in_words(self):
        before = self.stored()
        old, fresh = self.service.path("old.bak"), self.service.path("fresh.bak")
        self.service.run("backup", old)
        self.service.run("master-key", "add")
        file_before = self.key_file()
        self.restart()
        self.rewrapped(2)
        self.service.run("backup", fresh)
        self.service.stop()
        self.retire()
        refused = self.service.run("restore", old, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("1 keys in this database are under master key 1, which was retired",
                      refused.stderr)
        self.service.start()
        self.opens(before)
        self.service.stop()
        # One from between, when nothing needed it any more, is as good as any.
        self.service.run("restore", fresh)
        self.service.start()
        self.opens(before)
        self.assertEqual(self.rows(1)[0], "retired")
        self.service.stop()
        # And with a copy of the file from before the old one is, too.
        with open(self.service.path("master.key"), "w", encoding="ascii") as file:
            file.write(file_before)
        self.service.run("restore", old)
        self.service.start()
        self.opens(before)

    def state(self):
        """Whether database and file have the first key as retired."""
        with contextlib.closing(sqlite3.connect(self.service.path("keys.db"))) as db:
            retired = db.execute("SELECT retired FROM wrapping WHERE version = 1").fetchone()[0]
        return retired != 0, "\n1 retired " in self.key_file()

    def master_key(self, *arguments, **environment):
        """`bulla-keyd master-key …`, with the disk as the environment says."""
        options = os.environ.get("ASAN_OPTIONS", "")
        return subprocess.run(
            [keyd.PROGRAM, "master-key", *arguments, "--config", self.service.config],
            env={**os.environ, "LD_PRELOAD": os.environ["BULLA_SYNC_SHIM"], **environment,
                 "ASAN_OPTIONS": options + ":verify_asan_link_order=0"},
            capture_output=True, text=True, timeout=keyd.WAIT_S)

    def prepare(self):
        """A service with two keys and all rows under the second, stopped; copies begin from it."""
        before = self.stored()
        self.service.run("master-key", "add")
        self.service.stop()
        self.service.run("master-key", "rewrap")
        prepared = self.temporary.name + "/prepared"
        shutil.copytree(self.service.dir, prepared)
        return before, prepared

    def begin_from(self, prepared):
        shutil.rmtree(self.service.dir)
        shutil.copytree(prepared, self.service.dir)

    def key_files(self):
        return [name for name in os.listdir(self.service.dir) if name.startswith("master.key")]

    def test_whatever_ends_it_goes_on_with_the_next(self):
        before, prepared = self.prepare()
        seen = set()
        for die_at in range(1, DIE_MAX):
            self.begin_from(prepared)
            done = self.master_key("retire", "1", BULLA_DIE_AT=str(die_at))
            if done.returncode == 0:
                break
            self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
            state = self.state()
            if state not in seen:
                seen.add(state)
                self.service.start()
                self.opens(before)
                self.assertEqual(self.service.stop(), 0)
            self.retire()
            self.assertEqual(self.state(), (True, True), die_at)
            self.assertEqual(self.key_files(), ["master.key"], die_at)
        self.assertEqual(done.returncode, 0, "it never came to its end")
        self.assertEqual(seen, {(False, False), (True, False), (True, True)})
        self.service.start()
        self.opens(before)

    def test_a_step_that_fails_leaves_the_old_key_until_the_new_file_is_on_the_disk(self):
        """A sync that failed is not made good by a later one: what it was to prove is done anew."""
        before, prepared = self.prepare()
        states = []
        for fail_at in range(1, DIE_MAX):
            self.begin_from(prepared)
            done = self.master_key("retire", "1", BULLA_FAIL_AT=str(fail_at))
            if "a step failed" not in done.stderr:
                break
            if done.returncode == 0:  # the database gets on without some
                continue
            states.append(self.state())
            self.retire()
            self.assertEqual(self.state(), (True, True), fail_at)
            self.assertEqual(self.key_files(), ["master.key"], fail_at)
        self.assertEqual(done.returncode, 0, "it never came to its end")
        # With the new file in place there are only these left: overwrite, sync, unlink, sync.
        self.assertEqual(states.count((True, True)), 4, states)
        self.service.start()
        self.opens(before)

    def test_a_key_that_may_not_be_on_the_disk_is_not_in_the_file(self):
        before, prepared = self.prepare()
        text = self.key_file()
        failed = 0
        for fail_at in range(1, DIE_MAX):
            self.begin_from(prepared)
            done = self.master_key("add", BULLA_FAIL_AT=str(fail_at))
            if "a step failed" not in done.stderr:
                break
            if done.returncode != 0:
                failed += 1
                self.assertEqual(self.key_file(), text, fail_at)
        self.assertEqual(done.returncode, 0, "it never came to its end")
        self.assertGreaterEqual(failed, 4, "the new file, its name, its place, the folder")
        self.assertIn("\n3 ", self.key_file())
        self.assertEqual(self.key_files(), ["master.key"])
        self.service.start()
        self.opens(before)


if __name__ == "__main__":
    keyd.main()

"""Opening by forwarding, by a Postfix that has the blocks of docs/keyservice/receive.md: the link comes back."""
import json
import os
import pathlib
import re
import shutil
import smtplib
import sys
import unittest

import drive
import postfix

os.environ["BULLA_KEYD"] = shutil.which("bulla-keyd")
sys.path.insert(0, str(drive.SOURCE / "tests" / "keyservice" / "server"))
import keyd  # noqa: E402
from receive_test import ID, KEY, forwarded, sealed  # noqa: E402

GUIDE = drive.SOURCE / "docs" / "keyservice" / "receive.md"
OWNER = "nobody"  # who serves: Postfix runs nothing as root
OPEN = "open@open.example.com"
BOB, EVE = "bob@example.org", "eve@example.net"


class OwnedService(keyd.Service):
    """Its folder is another user's, whom it becomes."""

    def start(self):
        shutil.chown(self.folder, OWNER)
        for folder, _, names in os.walk(self.dir):
            for name in [".", *names]:
                shutil.chown(os.path.join(folder, name), OWNER)
        super().start()


class Receive(drive.Case):
    @classmethod
    def setUpClass(cls):
        if why := postfix.missing():
            raise unittest.SkipTest(why)
        cls.folder = postfix.scratch()
        cls.addClassCleanup(cls.folder.cleanup)
        folder = pathlib.Path(cls.folder.name)
        cls.sink = postfix.Sink()
        cls.addClassCleanup(cls.sink.close)
        relay = f"127.0.0.1:{cls.sink.port}"
        cls.service = OwnedService(
            cls.folder.name, postfix.blocks("keyd.conf", GUIDE)
            + f'smtp_relay = "smtp://{relay}"\nsmtp_tls = "none"\nuser = "{OWNER}"\n')
        cls.addClassCleanup(cls.service.stop)
        answer = cls.service.store(keyd.batch(keyd.record(bytes.fromhex(ID), key=KEY, to=(BOB,))))
        assert answer.status == 200, answer.body
        # Where the build lies may be no place for another user.
        program = str(shutil.copy(keyd.PROGRAM, folder / "bulla-keyd"))
        cls.port = postfix.free_port()
        master = (postfix.blocks("master.cf", GUIDE).replace("/usr/sbin/bulla-keyd", program)
                  .replace("user=bulla-keyd", f"user={OWNER}")
                  .replace("/etc/bulla/keyd/keyd.conf", cls.service.config)
                  + f"127.0.0.1:{cls.port} inet n - n - - smtpd\nsmtp unix - - n - - smtp\n")
        main = postfix.blocks("main.cf", GUIDE) + f"relayhost = [127.0.0.1]:{cls.sink.port}\n"
        cls.postfix = postfix.Postfix(folder / "postfix", main, master)
        cls.addClassCleanup(cls.postfix.stop)
        cls.postfix.start(cls.port)

    def setUp(self):
        self.sink.mails.clear()

    def send(self, sender, mail, options=()):
        with smtplib.SMTP("127.0.0.1", self.port) as client:
            client.sendmail(sender, [OPEN], mail, rcpt_options=options)

    def settled(self):
        drive.wait_until(lambda: not self.postfix.queue_ids(), "Postfix has nothing left to deliver")

    def link(self, mail):
        self.assertEqual(("", [BOB]), (mail.sender, mail.recipients))
        text = keyd.email.message_from_bytes(mail.data, policy=keyd.email.policy.default).get_content()
        return re.search(r"https://keys\.example\.com(/link/[\w-]{43})", text)[1]

    def click(self, path):
        return self.service.call("POST", path, "", {
            "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"})

    def test_postfix_takes_every_line_without_a_word(self):
        said = self.postfix.command("postconf", "-n") + self.postfix.told()
        self.assertNotRegex(said, "warning|fatal|panic|unused")

    def test_a_recipient_gets_a_link_that_opens_the_message(self):
        self.send(BOB, forwarded(BOB, sealed()))
        mail, = self.sink.wait(1)
        path = self.link(mail)
        self.assertEqual(self.service.call("GET", path).status, 200)
        self.assertEqual(self.click(path).status, 303)
        self.assertEqual(self.click(path).status, 410)
        self.settled()
        self.assertEqual(1, len(self.sink.mails))

    def test_a_stranger_and_a_bounce_are_told_nothing(self):
        self.send(EVE, forwarded(EVE, sealed()))
        self.send("", forwarded(BOB, sealed()))
        self.send(EVE, b"Subject: nothing\r\n\r\nhere\r\n")
        self.settled()
        self.assertEqual([], self.sink.mails)

    def test_a_delivery_report_says_the_same_of_both(self):
        told = []
        for sender in (BOB, EVE):
            self.sink.mails.clear()
            self.send(sender, forwarded(sender, sealed()), ["NOTIFY=SUCCESS"])
            mails = self.sink.wait(2 if sender == BOB else 1)
            report, = (mail.data for mail in mails if b"multipart/report" in mail.data)
            told.append(re.search(rb"^Diagnostic-Code:.*?^\r?$", report, re.M | re.S)[0].split())
            self.settled()
        self.assertEqual(told[0], told[1])
        self.assertEqual([b"delivered", b"via", b"bulla-open", b"service"], told[0][-4:])

    def test_a_mail_waits_while_it_cannot_be_answered(self):
        config = pathlib.Path(self.service.config)
        away = config.rename(config.with_suffix(".away"))
        try:
            self.send(BOB, forwarded(BOB, sealed()))
            drive.wait_until(lambda: any(json.loads(line)["queue_name"] == "deferred" for line in
                                         self.postfix.command("postqueue", "-j").splitlines()),
                             "Postfix has put it off")
        finally:
            away.rename(config)
        self.assertEqual([], self.sink.mails)
        self.postfix.command("postqueue", "-f")
        mail, = self.sink.wait(1)
        self.link(mail)
        self.settled()


if __name__ == "__main__":
    postfix.main()

"""The key service is away for longer than a message may wait: its sender hears of it, once."""
import email
import email.policy
import time

import drive
import postfix
from postfix_away import numbered
from postfix_mail import mail


class Late(postfix.Case):
    keywords = {"engine": "  message_id_host = \"sender.example\"\n",
                "profile": '  seal_subject = {"[secure]"}\n  wait = 3s\n'}

    def setUp(self):
        super().setUp()
        self.host.proxy.set("refuse")

    def tearDown(self):
        self.host.proxy.set("pass")

    def test_the_sender_is_told_with_the_header_alone(self):
        self.assert_sent(numbered(7), recipients=[drive.USER, "bob@elsewhere.example"])
        got, = self.arrived()
        self.assertEqual(("", [postfix.SENDER]), (got.sender, got.recipients))
        notice = email.message_from_bytes(got.data, policy=email.policy.SMTP)
        self.assertEqual(("multipart/report", "delivery-status"),
                         (notice.get_content_type(), notice.get_param("report-type")))
        self.assertTrue(notice["Auto-Submitted"].startswith("auto-"))
        kinds = [part.get_content_type() for part in notice.iter_parts()]
        self.assertEqual("message/delivery-status", kinds[1])
        self.assertIn(kinds[2], ("text/rfc822-headers", "message/rfc822-headers"))
        self.assertIn(b"bob@elsewhere.example", got.data)
        self.assertNotIn(b"tablet 7", got.data)
        # The service comes back too late: the mail itself is gone, and is not sent.
        self.host.proxy.set("pass")
        time.sleep(1.5)
        self.assertEqual(1, len(self.host.sink.mails))

    def test_nobody_is_told_of_automatic_mail_and_the_null_senders(self):
        self.assert_sent(numbered(1), sender="")
        self.assert_sent(mail(subject=b"Subject: [secure] number 2\r\n",
                              more=b"Auto-Submitted: auto-replied\r\n"))
        drive.wait_until(lambda: self.host.bulla("queue list", "--json").out == b"", "they end")
        time.sleep(0.5)
        self.assertEqual([], self.host.sink.mails)


if __name__ == "__main__":
    postfix.main()

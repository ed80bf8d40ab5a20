"""A part is missing: the client is told to come again, nothing leaves in clear, and then it arrives."""
import contextlib
import signal
import socket
import struct
import threading

import drive
import postfix
from postfix_mail import mail


class HalfMilter:
    """In bulla-milter's place: agrees to everything, begins to replace the mail, and is gone."""

    def __init__(self, path, answers):
        path.unlink(missing_ok=True)
        self.answers, self.died = answers, 0
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        path.chmod(0o666)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.server.close()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                with connection, contextlib.suppress(EOFError, OSError):
                    self.converse(connection)

    @staticmethod
    def packet(command, data=b""):
        return struct.pack("!I", len(data) + 1) + command + data

    def converse(self, connection):
        stream = connection.makefile("rb")
        while head := stream.read(5):
            bytes_count, command = struct.unpack("!Ic", head)
            stream.read(bytes_count - 1)
            if command == b"O":  # version 6; add and change fields, change the body
                connection.sendall(self.packet(b"O", struct.pack("!III", 6, 0x13, 0)))
            elif command == b"E":
                for answer in self.answers:
                    connection.sendall(self.packet(*answer))
                self.died += 1
                return
            elif command not in (b"D", b"A", b"Q"):
                connection.sendall(self.packet(b"c"))


class Down(postfix.Case):
    keywords = {"spool": False,
                "main": "milter_command_timeout = 3s\nmilter_connect_timeout = 3s\n"
                        "non_smtpd_milters = unix:/run/bulla-milter/milter.sock\n"}

    def assert_nothing_came(self):
        self.assertEqual([], self.host.sink.mails)
        self.assertEqual([], self.host.postfix.queue_ids())

    def assert_sealed_now(self):
        drive.wait_until(lambda: self.host.send(mail())[0] == 250, "mail is taken again")
        self.assert_opens(self.arrived()[0], mail())

    def test_without_the_milter_nothing_is_taken(self):
        self.host.stop_milter(signal.SIGKILL)
        try:
            self.assert_put_off(mail())
            self.assert_put_off(mail(subject=b"Subject: plain\r\n"))
            self.assert_nothing_came()
        finally:
            self.host.start_milter()
        self.assert_sealed_now()

    def test_without_the_engine_what_is_selected_is_not_taken(self):
        self.host.stop_engine(signal.SIGKILL)
        try:
            self.assert_put_off(mail())
            self.assert_nothing_came()
            self.assert_sent(mail(subject=b"Subject: plain\r\n"))
            self.assertNotIn(b"tablets\r\nDate", self.arrived()[0].data)
            self.setUp()
        finally:
            self.host.start_engine()
        self.assert_sealed_now()

    def test_a_milter_that_hangs_is_waited_for_and_not_passed_by(self):
        drive.halt(self.host.milter.process.pid)
        try:
            self.assert_put_off(mail())
            self.assert_nothing_came()
        finally:
            self.host.milter.process.send_signal(signal.SIGCONT)
        self.assert_sealed_now()

    def test_a_milter_that_dies_half_way_through_its_answer_lets_nothing_leave(self):
        gone = (b"m", struct.pack("!I", 1) + b"Subject\0\0")
        field = (b"h", b"MIME-Version\0 1.0\0")
        body = (b"b", b"half of a sealed mail\r\n" * 1000)
        self.host.stop_milter()
        try:
            for answers in ((), (gone,), (gone, field), (gone, field, body), (body, body)):
                milter = HalfMilter(self.host.milter_socket, answers)
                try:
                    self.assert_put_off(mail())
                finally:
                    milter.close()
                self.assertEqual(1, milter.died)
                self.assert_nothing_came()
        finally:
            self.host.milter_socket.unlink(missing_ok=True)
            self.host.start_milter()
        self.assert_sealed_now()

    def test_without_the_key_service_and_a_spool_it_is_not_taken(self):
        self.host.proxy.set("refuse")
        try:
            self.assert_put_off(mail())
            self.assert_nothing_came()
        finally:
            self.host.proxy.set("pass")
        self.assert_sealed_now()

    def test_what_sendmail_hands_in_waits_with_postfix_and_arrives_sealed(self):
        """Such mail has no client to be told: Postfix keeps it until the milter has seen it."""
        self.host.stop_engine()
        try:
            self.host.sendmail(mail())
            # The message after it is picked up later, so the first has been tried by then.
            self.host.sendmail(mail(subject=b"Subject: plain\r\n"))
            self.assertIn(b"Subject: plain", self.arrived()[0].data)
            self.assertEqual(1, len(self.host.postfix.queue_ids()))
        finally:
            self.host.start_engine()
        self.setUp()
        self.host.sendmail(mail(subject=b"Subject: plain\r\n"))  # wakes pickup, which tries again
        mails = self.arrived(2)
        sealed, = (one for one in mails if b"Subject: plain" not in one.data)
        opened = drive.unseal(sealed.data)
        self.assertEqual(0, opened.status, opened.err)
        self.assertTrue(opened.out.endswith(b"twelve tablets\r\n"), opened.out)


if __name__ == "__main__":
    postfix.main()

"""What one message asks for beside its profile: in the key record, in the envelope, at the reader.

Another engine beside the demonstration's has profiles that allow it and one that does not; messages
go through libbulla, as a mail server's do.
"""
import ctypes
import email
import email.policy
import os
import pathlib
import re
import tempfile
import time

import drive

MAIL = b"From: a@sender.example\r\nTo: b@recipient.example\r\nSubject: wishes\r\n\r\nhello\r\n"
REPLY, REPLY_ALL, FORWARD, RECEIPT, REMEMBER, SCRIPT, BROWSER, EXPIRES, READ_BY = (
    1 << n for n in range(9))
FLAG_RECEIPT, FLAG_REPLY, FLAG_REPLY_ALL, FLAG_FORWARD, FLAG_REMEMBER = (1 << n for n in range(5))
OWN_FLAGS = FLAG_REPLY | FLAG_REPLY_ALL | FLAG_FORWARD  # a profile's defaults
SEALED = 1

PROFILES = """
profile "asked" {
  key_service = "demo"
  header_overrides = yes
}
profile "plain" {
  key_service = "demo"
  script = no
  locale = de
  payload_transport_url = "https://online.example.com:8443"
}
profile "online" {
  key_service = "demo"
  browser_decryption = no
}
"""


class Config(ctypes.Structure):
    _fields_ = [("socket_path", ctypes.c_char_p), ("slots_count", ctypes.c_uint32),
                ("input_bytes", ctypes.c_size_t), ("spin_us_max", ctypes.c_uint32),
                ("attach_timeout_ms", ctypes.c_uint32)]


class Options(ctypes.Structure):
    _fields_ = [("set", ctypes.c_uint32), ("values", ctypes.c_uint32),
                ("expires_after_s", ctypes.c_uint64), ("read_by_after_s", ctypes.c_uint64)]


class Request(ctypes.Structure):
    _fields_ = [("profile", ctypes.c_char_p), ("sender", ctypes.c_char_p),
                ("recipients", ctypes.POINTER(ctypes.c_char_p)),
                ("recipients_count", ctypes.c_uint32), ("flags", ctypes.c_uint32),
                ("mail_bytes", ctypes.c_size_t), ("user", ctypes.c_void_p),
                ("options", ctypes.POINTER(Options))]


def library():
    return ctypes.CDLL(str(pathlib.Path(os.environ["BULLA_BUILD_DIR"]) / "mta" / "libbulla.so"))


class Wishes(drive.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.engine = drive.engine(cls.folder.name, lambda text: text + PROFILES)
        cls.addClassCleanup(cls.engine.stop)
        cls.bulla = library()

    def sealed(self, profile, wished=0, values=0, expires=0, read_by=0):
        recipients = (ctypes.c_char_p * 1)(drive.USER.encode())
        options = Options(wished, values, expires, read_by)
        config = Config(socket_path=str(self.engine.socket).encode())
        request = Request(profile.encode(), drive.SENDER.encode(), recipients, 1, 0, len(MAIL), None,
                          ctypes.pointer(options))
        status = ctypes.c_int()
        sealed = ctypes.POINTER(ctypes.c_uint8)()
        size = ctypes.c_size_t()
        why = ctypes.create_string_buffer(512)
        rc = self.bulla.bulla_seal_one(ctypes.byref(config), ctypes.byref(request), MAIL, 60000,
                                       ctypes.byref(status), ctypes.byref(sealed),
                                       ctypes.byref(size), why, ctypes.c_size_t(len(why)))
        self.assertEqual((0, SEALED), (rc, status.value), why.value)
        return bytes(sealed[:size.value])

    def test_flags_and_times_reach_the_key_record(self):
        sealed = self.sealed("asked", REPLY | FORWARD | RECEIPT | EXPIRES | READ_BY, RECEIPT, 3600, 60)
        flags, sent, expires, read_by = drive.key_record(sealed)
        self.assertEqual(FLAG_RECEIPT | FLAG_REPLY_ALL, flags)
        self.assertEqual((sent + 3600_000, sent + 60_000), (expires, read_by))
        flags, _, expires, read_by = drive.key_record(self.sealed("asked"))
        self.assertEqual((OWN_FLAGS, 0, 0), (flags, expires, read_by))

    def test_a_profile_without_header_overrides_hears_nothing(self):
        sealed = self.sealed("default", 511, RECEIPT | REMEMBER, 1, 1)
        self.assertEqual((OWN_FLAGS, 0, 0), drive.key_record(sealed)[:1] + drive.key_record(sealed)[2:])
        self.assertIn(b"<script>", sealed)

    def test_what_has_expired_is_not_opened(self):
        soon = self.sealed("asked", EXPIRES, 0, 1)
        late = self.sealed("asked", EXPIRES, 0, 3600)
        time.sleep(1.1)
        self.assert_ends(drive.unseal(soon), drive.NOPERM, "expired")
        self.assertEqual(MAIL, drive.unseal(late).out)

    def plain(self, sealed, origin):
        html = drive.attachment(sealed).decode("ascii")
        self.assertNotIn("<script", html)
        self.assertNotIn("script-src", html)
        self.assertNotIn("connect-src", html)
        self.assertIn(f"form-action {origin};", html)
        self.assertRegex(html, rf'<form id=bulla [^>]*\saction="{re.escape(origin)}/online">')
        self.assertNotIn(" hidden ", html.split("<input", 1)[0])
        names = re.findall(r'<input type="hidden" name="(\w)"', html)
        self.assertEqual(list("vsmfutkce"), names)
        self.assertEqual(MAIL, drive.unseal(sealed).out)
        message = email.message_from_bytes(sealed, policy=email.policy.SMTP)
        self.assertEqual([], [d for part in message.walk() for d in part.defects])

    def test_a_message_may_ask_for_an_envelope_without_script(self):
        own = os.environ["BULLA_KEYD_URL"]
        self.plain(self.sealed("asked", SCRIPT), own)
        self.plain(self.sealed("asked", BROWSER), own)
        self.assertIn(b"<script>", self.sealed("asked", SCRIPT | BROWSER, SCRIPT | BROWSER))

    def test_a_profile_may_have_envelopes_without_script(self):
        self.plain(self.sealed("plain"), "https://online.example.com:8443")
        self.assertIn("Online &#246;ffnen", drive.attachment(self.sealed("plain")).decode())
        self.plain(self.sealed("online"), os.environ["BULLA_KEYD_URL"])
        # The profile decides: this one hears no wishes.
        self.plain(self.sealed("plain", SCRIPT, SCRIPT), "https://online.example.com:8443")


if __name__ == "__main__":
    drive.main()

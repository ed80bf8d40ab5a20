"""A reader's code app: RFC 6238, written anew."""
import base64
import hashlib
import hmac
import struct
import time

STEP_S = 30


def totp(secret, step):
    digest = hmac.new(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7fffffff) % 10**6:06}"


def step_now():
    return int(time.time()) // STEP_S


class CodeApp:
    """The app of one account. The service takes codes of one step about its own, each step once."""

    def __init__(self, secret):
        self.secret = secret
        self.step = 0

    def code(self):
        """However long it took since the last one: not used yet, and at most one step ahead."""
        self.step = max(self.step + 1, step_now())
        return self.again()

    def again(self):
        """The last one once more."""
        return totp(self.secret, self.step)

    def confirm(self, browser):
        """Turns the second factor on; gives the answer."""
        return browser.call("POST", "/v1/account/totp/confirm",
                            {"secret": self.secret, "code": self.code()})

"""A mail server's end of the milter protocol, as Postfix speaks it: one connection, one message.

What the milter asks for is applied to the message as Postfix would, so that a test sees what would
have been delivered. Protocol 6; numbers of fields count per name, without letter case, from 1.
"""
import socket
import struct

ADDHDRS, CHGBODY, CHGHDRS = 0x01, 0x02, 0x10
ALL_ACTIONS = 0x1FF
SKIP, HDR_LEADSPC = 0x400, 0x100000
ALL_STEPS = 0x1FFFFF
CHUNK = 65535
EOH_ACCEPTED = "accepted at the end of the header"


class Gone(Exception):
    """The milter closed the connection."""


class Result:
    """What became of a message."""

    def __init__(self, verdict, reply, fields, body, progress):
        self.verdict = verdict    # continue, accept, discard, reject, tempfail or reply
        self.reply = reply        # "550 5.7.1 text" of a reply
        self.fields = fields      # [(name, value)], as they would be delivered
        self.body = body
        self.progress = progress  # how often the milter said that it is still at work

    @property
    def delivered(self):
        """The bytes that would have gone on, or None."""
        if self.verdict not in ("continue", "accept"):
            return None
        return write(self.fields, self.body)

    @property
    def put_off(self):
        return self.verdict == "tempfail" or (self.reply or "").startswith("4")

    @property
    def refused(self):
        return self.verdict == "reject" or (self.reply or "").startswith("5")


def read(mail):
    """Fields, with bare LF in their values as milters get them, and the body."""
    header, _, body = mail.partition(b"\r\n\r\n")
    fields = []
    for line in header.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + b"\n" + line)
        else:
            name, _, value = line.partition(b":")
            fields.append((name, value))
    return fields, body


def write(fields, body):
    return b"".join(n + b":" + v.replace(b"\n", b"\r\n") + b"\r\n" for n, v in fields) \
        + b"\r\n" + body


class Client:
    """One connection to the milter, from one client of the mail server."""

    def __init__(self, address, client=("127.0.0.1", 4), timeout_s=60, lead_blank=True, skip=True,
                 actions=ALL_ACTIONS):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.socket.connect(address)
        steps = ALL_STEPS & ~(0 if lead_blank else HDR_LEADSPC) & ~(0 if skip else SKIP)
        self.send(b"O", struct.pack("!III", 6, actions, steps))
        try:
            command, data = self.receive()
        except (Gone, OSError):
            self.socket.close()
            raise
        if command != b"O":
            self.socket.close()
            raise Gone()
        _, self.actions, self.steps = struct.unpack("!III", data[:12])
        self.lead_blank = bool(self.steps & HDR_LEADSPC)
        kind = {4: b"4", 6: b"6", 0: b"U"}[client[1]]
        port = b"" if kind == b"U" else struct.pack("!H", 40000) + client[0].encode() + b"\0"
        self.connected = self.ask(b"C", b"host.example\0" + kind + port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.send(b"Q", b"")
        except OSError:
            pass
        self.socket.close()

    def send(self, command, data):
        self.socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise Gone()
            data += more
        return data

    def receive(self):
        data = self.exactly(struct.unpack("!I", self.exactly(4))[0])
        return data[:1], data[1:]

    def ask(self, command, data):
        self.send(command, data)
        return self.receive()

    def macros(self, command, values):
        self.send(b"D", command + b"".join(k.encode() + b"\0" + v.encode() + b"\0"
                                           for k, v in values.items()))

    def envelope(self, sender, recipients, authenticated, arguments, queue_id):
        """The last answer: of the first command that was not simply agreed to, or of the last."""
        if authenticated:
            self.macros(b"M", {"{auth_authen}": authenticated, "{auth_type}": "PLAIN"})
        answer = self.ask(b"M", b"\0".join([b"<" + sender + b">"] + arguments[0]) + b"\0")
        if answer[0] != b"c":
            return answer, 0
        taken = 0
        for recipient in recipients:
            answer = self.ask(b"R", b"\0".join([b"<" + recipient + b">"] + arguments[1]) + b"\0")
            taken += answer[0] == b"c"
        self.macros(b"T", {"i": queue_id})
        return answer, taken

    def message(self, mail, sender=b"sender@sender.example", recipients=(b"reader@example.org",),
                authenticated=None, arguments=((), ()), queue_id="4XyZ12", after_header=None):
        """Sends one message; a Result. `after_header` is called before the body is sent."""
        fields, body = read(mail)
        answer, taken = self.envelope(sender, recipients, authenticated,
                                      [list(arguments[0]), list(arguments[1])], queue_id)
        if taken == 0:
            return self.result(answer, fields, body)
        for name, value in fields:
            if not self.lead_blank and value.startswith(b" "):
                value = value[1:]
            answer = self.ask(b"L", name + b"\0" + value + b"\0")
            if answer[0] != b"c":
                return self.result(answer, fields, body)
        answer = self.ask(b"N", b"")
        if answer[0] != b"c":
            return self.result(answer, fields, body)
        if after_header is not None:
            after_header()
        for at in range(0, len(body), CHUNK):
            answer = self.ask(b"B", body[at:at + CHUNK])
            if answer[0] == b"s":
                break
            if answer[0] != b"c":
                return self.result(answer, fields, body)
        self.send(b"E", b"")
        return self.changes(fields, body)

    def changes(self, fields, body):
        fields, new_body, progress = list(fields), None, 0
        while True:
            command, data = self.receive()
            if command == b"p":
                progress += 1
            elif command == b"m":
                number, rest = struct.unpack("!I", data[:4])[0], data[4:].split(b"\0")
                self.change(fields, number, rest[0], rest[1])
            elif command == b"h":
                name, value = data.split(b"\0")[:2]
                fields.append((name, value if self.lead_blank else b" " + value))
            elif command == b"b":
                new_body = (new_body or b"") + data
            else:
                final = body if new_body is None else new_body
                return self.result((command, data), fields, final, progress)

    @staticmethod
    def change(fields, number, name, value):
        seen = 0
        for at, (other, _) in enumerate(fields):
            seen += other.lower() == name.lower()
            if seen == number and other.lower() == name.lower():
                if value == b"":
                    del fields[at]
                else:
                    fields[at] = (name, value)
                return
        raise AssertionError(f"the milter changes field {number} of {name!r}, which is not there")

    @staticmethod
    def result(answer, fields, body, progress=0):
        verdicts = {b"c": "continue", b"a": "accept", b"d": "discard", b"r": "reject",
                    b"t": "tempfail", b"y": "reply"}
        reply = answer[1].rstrip(b"\0").decode("ascii") if answer[0] == b"y" else None
        return Result(verdicts[answer[0]], reply, fields, body, progress)

#!/usr/bin/python3
"""Reads the sealed mails that sealed_mail_emit writes with Python's email package.

Another implementation of the standards must find no defect in them, the parts where
docs/format/sealed-mail.md says, and no address, date or id that the original did not have.
"""
import email
import email.header
import email.policy
import email.utils
import os
import re
import subprocess
import sys

ALLOWED = {
    "from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to",
    "references", "auto-submitted", "mime-version", "content-type",
}
STEP = int(os.environ.get("BULLA_SEALED_MAIL_STEP", "3"))  # every n-th mail is read; all: tools/soak corpus
OWN = {"env@sender.example", "env@recipient.example", "MAILER-DAEMON@mail.example.com"}


def fail(number, what, sealed):
    head = sealed.split(b"\r\n\r\n", 1)[0].decode("ascii", "replace")
    sys.exit(f"sealed mail {number}: {what}\n{head}")


def squeeze(text):
    """What an address looks like once white space, quoting and comments are gone."""
    return re.sub(r"[\s\"\\]+", "", text)


def check_addresses(number, original, message, sealed):
    # Raw 8-bit bytes cannot be in a sealed address: latin-1 is as good as any.
    text = squeeze(re.sub(r"\([^()]*\)", "", original.decode("latin-1")))
    for name in ("from", "sender", "reply-to", "to", "cc"):
        field = message[name]
        if field is None:
            continue
        if not field.addresses and "undisclosed-recipients" not in str(field):
            fail(number, f"{name} has no address", sealed)
        for address in field.addresses:
            spec = address.addr_spec
            if spec not in OWN and squeeze(spec) not in text:
                fail(number, f"{name}: {spec} is not in the original", sealed)
            if re.search(r"[\x00-\x1f\x7f]", address.display_name):
                fail(number, f"{name}: control byte in a name", sealed)


def check_parts(number, message, sealed):
    if message.get_content_type() != "multipart/mixed":
        fail(number, "not multipart/mixed", sealed)
    parts = list(message.iter_parts())
    kinds = [part.get_content_type() for part in parts]
    if kinds != ["multipart/alternative", "text/html"]:
        fail(number, f"parts are {kinds}", sealed)
    kinds = [part.get_content_type() for part in parts[0].iter_parts()]
    if kinds != ["text/plain", "text/html"]:
        fail(number, f"alternatives are {kinds}", sealed)
    if not re.fullmatch(r"securedoc_\d{8}T\d{6}\.html", parts[1].get_filename() or ""):
        fail(number, f"attachment is called {parts[1].get_filename()}", sealed)
    html = parts[1].get_content()
    if 'name="e" value="1"' not in html:
        fail(number, "attachment has no end", sealed)
    for part in message.walk():
        if part.defects:
            fail(number, f"defects {part.defects}", sealed)
        if not part.is_multipart():
            part.get_content()
    text = parts[0].get_body(("plain",)).get_content()
    if "https://keys.example.com" not in text or "\ufffd" in text and b"\xff" in sealed:
        fail(number, "notification is not whole", sealed)


def check_subject(number, original, message, hidden, sealed):
    if hidden:
        if message["subject"] != "Sealed":
            fail(number, f"subject is {message['subject']}", sealed)
        return 0
    # Only where another reader of the original is sure of it: ASCII words, UTF-8, no defects.
    before = email.message_from_bytes(original, policy=email.policy.compat32)["subject"]
    if message["subject"] is None or not isinstance(before, str) or len(before) > 400:
        return 0
    words = re.findall(r"=\?([^?]*)\?[bBqQ]\?[^?\s]*\?=", before)
    if "=?" in re.sub(r"=\?[^?]*\?[bBqQ]\?[^?\s]*\?=", "", before) or any(
        w.lower() not in ("utf-8", "us-ascii") for w in words
    ):
        return 0
    if not before.isascii() or re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\S=\?|\?=\S", before):
        return 0
    expected = str(email.header.make_header(email.header.decode_header(before)))
    got = str(email.header.make_header(email.header.decode_header(str(message["subject"]))))
    if " ".join(expected.split()) != " ".join(got.split()):
        fail(number, f"subject {got!r} was {expected!r}", sealed)
    return 1


def check(number, original, sealed, hidden):
    if re.search(rb"[^\t\r\n\x20-\x7e]|\r[^\n]|[^\r]\n", sealed):
        fail(number, "a byte that may not be there", sealed)
    if max(len(line) for line in sealed.split(b"\r\n")) > 998:
        fail(number, "a line is too long", sealed)
    message = email.message_from_bytes(sealed, policy=email.policy.default)
    if message.defects:
        fail(number, f"defects {message.defects}", sealed)
    names = [name.lower() for name in message.keys()]
    if len(set(names)) != len(names) or not set(names) <= ALLOWED:
        fail(number, f"fields are {names}", sealed)
    for name in ("from", "date", "message-id", "mime-version", "content-type"):
        if name not in names:
            fail(number, f"{name} is missing", sealed)
    for name in ("from", "sender", "reply-to", "to", "cc", "date", "subject"):
        if message[name] is not None and message[name].defects:
            fail(number, f"{name}: {message[name].defects}", sealed)
    if message["date"].datetime is None:
        fail(number, "date cannot be read", sealed)
    check_addresses(number, original, message, sealed)
    check_parts(number, message, sealed)
    return check_subject(number, original, message, hidden, sealed)


def main():
    with subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE) as emit:
        mails = subjects = 0
        missing = False
        for line in emit.stdout:
            missing = missing or line == b"skipped: no corpus\n"
            if not line[:1].isdigit():
                continue
            original_bytes, sealed_bytes, hidden = map(int, line.split())
            original = emit.stdout.read(original_bytes)
            sealed = emit.stdout.read(sealed_bytes)
            if mails % STEP == 0:
                subjects += check(mails, original, sealed, hidden == 1)
            mails += 1
    if emit.returncode != 0 or mails < 300:
        sys.exit(f"sealed_mail_emit gave {mails} mails and status {emit.returncode}")
    print(f"{mails} sealed mails, every {STEP}. read, {subjects} subjects compared")
    if missing:
        print("skipped: no corpus")
        sys.exit(77)


main()

#!/usr/bin/python3
"""Reads the notifications that notice_emit writes with Python's email package.

It must find no defect, three parts of the types of RFC 3464, a report that names each recipient, and
words in the locale's own language.
"""
import email
import email.policy
import re
import subprocess
import sys

ID = "0192f0c1d2e37abc8def0123456789ab"


def fail(what, mail):
    sys.exit(f"{what}\n{mail.decode('ascii', 'replace')}")


def defects(message):
    return [d for part in message.walk() for d in part.defects] + [
        d for part in message.walk() for field in part.values() for d in getattr(field, "defects", [])]


def check(locale, utf8, mail):
    message = email.message_from_bytes(mail, policy=email.policy.default)
    if defects(message):
        fail(f"{locale}: {defects(message)}", mail)
    if message.get_content_type() != "multipart/report" or \
            message.get_param("report-type") != "delivery-status":
        fail(f"{locale}: {message['content-type']}", mail)
    parts = list(message.iter_parts())
    kinds = [part.get_content_type() for part in parts]
    if kinds != ["text/plain", "message/delivery-status", "text/rfc822-headers"]:
        fail(f"{locale}: parts are {kinds}", mail)
    if str(message["from"]) != "MAILER-DAEMON@mail.example.com" or \
            message["auto-submitted"] != "auto-replied" or \
            message["message-id"] != f"<{ID}.notice@mail.example.com>":
        fail(f"{locale}: header", mail)
    wanted = [] if utf8 else ["alice@a.example"]
    if [address.addr_spec for address in message["to"].addresses] != wanted:
        fail(f"{locale}: To is {message['to']}", mail)
    if utf8 and "zoë@a.example" not in str(message["to"]):
        fail(f"{locale}: To does not show the address: {message['to']}", mail)
    text = parts[0].get_content()
    if "jörg@b.example, bob@b.example" not in text or "<1@a.example>" not in text:
        fail(f"{locale}: {text}", mail)
    about, *recipients = parts[1].get_payload()
    if about["reporting-mta"] != "dns; mail.example.com" or not about["arrival-date"]:
        fail(f"{locale}: report", mail)
    finals = [r["final-recipient"] for r in recipients]
    if finals != ["utf-8; j\\x{F6}rg@b.example", "rfc822; bob@b.example"]:
        fail(f"{locale}: {finals}", mail)
    status, code = ("5.7.1", "smtp; 554 5.7.1 no, sorry") if utf8 else ("4.4.7", None)
    for recipient in recipients:
        if recipient["action"] != "failed" or recipient["status"] != status or \
                (code and recipient["diagnostic-code"] != code):
            fail(f"{locale}: {recipient}", mail)
    outer = parts[2].get_content()
    if not re.search(r"^Subject: Numbers\r?$", outer, re.M) or "secret" in outer:
        fail(f"{locale}: {outer}", mail)
    return text, str(message["subject"])


def main():
    emitted = subprocess.run([sys.argv[1]], check=True, capture_output=True).stdout
    seen = {}
    count = 0
    while emitted:
        head, emitted = emitted.split(b"\n", 1)
        locale, size = head.decode().split()
        mail, emitted = emitted[:int(size)], emitted[int(size):]
        utf8 = count % 2 == 1
        text, subject = check(locale, utf8, mail)
        seen.setdefault(("text", utf8, text), []).append(locale)
        seen.setdefault(("subject", utf8, subject), []).append(locale)
        count += 1
    shared = [locales for locales in seen.values() if len(locales) > 1]
    if shared:
        sys.exit(f"locales say the same: {shared}")
    if count != 24:
        sys.exit(f"{count} notifications; wanted 24")
    print(f"{count} notifications, no defect")


main()

"""Every message of the corpus, in both line endings, comes back byte for byte: with CRLF from a profile
that compresses."""
import collections
import concurrent.futures
import os
import sys

import drive

STEP = int(os.environ.get("BULLA_E2E_CORPUS_STEP", "4"))  # every n-th message; all of them: tools/soak corpus
EOLS = {"as it is": None, "CRLF": b"\r\n", "LF": b"\n"}


def one(job):
    path, name = job
    eol = EOLS[name]
    mail = path.read_bytes()
    if eol is not None:
        changed = drive.with_eol(mail, eol)
        if changed == mail:
            return "same", f"{path} is {name} already"
        mail = changed
    sealed = drive.seal(mail, "--profile", "compact" if name == "CRLF" else "default")
    if sealed.status != 0:
        return "bad", f"{path} ({name}): seal {sealed.status} {sealed.line}"
    opened = drive.unseal(sealed.out)
    if opened.status != 0:
        return "bad", f"{path} ({name}): open {opened.status} {opened.line}"
    if opened.out != mail:
        return "bad", f"{path} ({name}): other bytes came back"
    if not sealed.out.isascii():
        return "bad", f"{path} ({name}): the sealed mail is not 7bit"
    return "good", ""


def main():
    paths = drive.corpus()[::STEP]
    if not paths:
        print("skipped: no corpus")
        return 77
    jobs = [(path, name) for path in paths for name in EOLS]
    counts = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(max_workers=(os.cpu_count() or 2) * 2) as pool:
        for result, line in pool.map(one, jobs):
            counts[result] += 1
            if result == "bad":
                print(line, flush=True)
    print(f"corpus: {len(paths)} messages: {counts['good']} round trips byte for byte, "
          f"{counts['same']} had that line ending already, {counts['bad']} failed")
    return 0 if counts["bad"] == 0 and counts["good"] >= len(paths) else 1


if __name__ == "__main__":
    sys.exit(main())

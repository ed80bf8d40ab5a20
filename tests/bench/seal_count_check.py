#!/usr/bin/python3
"""Instruction counts of the sealing path, by callgrind, against those on record.

seal_count_check.py PROGRAM [--record]

Times are noisy, counts are not: a change that makes sealing dearer by more than the drift allowed in
seal_count.txt fails here, on any machine. They are counts of the AVX2 code: valgrind knows no AVX-512.
Where nothing is on record for a compiler and its libraries there is nothing to compare with: skipped,
but for Debian 12's own compiler when CI is set. There the counts must be recorded, or nobody would notice.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seal_count.txt")
MAILS = ("text-4k", "text-64k", "base64-1m")
SKIPPED = 77
CI_COMPILER = "gcc-12."
COMMAND = "tests/bench/seal_count_check.py build/release/tests/bench/seal_count --record"


def skip(reason):
    print(f"seal_count: skipped: {reason}")
    sys.exit(SKIPPED)


def read_record():
    """The allowed drift in percent, and {(key, mail): instructions a message}."""
    drift, counts = None, {}
    with open(RECORD, encoding="ascii") as file:
        for line in file:
            words = line.split("#")[0].split()
            if len(words) == 2 and words[0] == "drift_percent":
                drift = float(words[1])
            elif len(words) == 3:
                counts[words[0], words[1]] = int(words[2])
            else:
                assert not words, f"seal_count.txt: {line!r}"
    assert drift is not None, "seal_count.txt: drift_percent is missing"
    return drift, counts


def write_record(key, counted):
    with open(RECORD, encoding="ascii") as file:
        lines = [line for line in file if line.split()[:1] != [key]]
    lines += [f"{key} {mail} {count}\n" for mail, count in counted.items()]
    with open(RECORD, "w", encoding="ascii") as file:
        file.writelines(lines)


def count(program, mail):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=seal_counted",
             f"--callgrind-out-file={out}", program, mail],
            capture_output=True, text=True, check=False)
        if done.returncode == SKIPPED:
            skip("this processor, or this valgrind, has no AVX2")
        assert done.returncode == 0, done.stderr
        with open(out, encoding="ascii") as file:
            total = re.search(r"^(?:totals|summary): (\d+)", file.read(), re.MULTILINE)
    assert total is not None and int(total[1]) > 0, "callgrind counted nothing"
    return round(int(total[1]) / int(done.stdout))


def main():
    program = sys.argv[1]
    if shutil.which("valgrind") is None:
        skip("valgrind is not installed (tools/deps)")
    key = subprocess.run([program, "KEY"], capture_output=True, text=True, check=True).stdout.strip()
    drift, counts = read_record()
    recording = "--record" in sys.argv[2:]
    known = all((key, mail) in counts for mail in MAILS)
    if not recording and not known:
        why = f"seal_count.txt has no counts for {key}; add them with {COMMAND}"
        if os.environ.get("CI") and key.startswith(CI_COMPILER):
            sys.exit(f"seal_count: {why}")
        skip(why)
    counted = {mail: count(program, mail) for mail in MAILS}
    if recording:
        write_record(key, counted)
    failed = False
    for mail, new in counted.items():
        old = counts.get((key, mail), new)
        change = (new - old) * 100 / old
        print(f"seal_count: {mail}: {old} on record, {new} now, {change:+.2f} %")
        if not recording and change > drift:
            failed = True
            print(f"seal_count: {mail} costs more than {drift} % above the record: make it cheaper, or say why in "
                  f"the commit that records it with {COMMAND}")
        elif not recording and change < -drift:
            print(f"seal_count: {mail} became cheaper: record it with {COMMAND}, so that it stays so")
    sys.exit(1 if failed else 0)


main()

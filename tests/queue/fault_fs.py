#!/usr/bin/env python3
"""The spool on a file system that fails at a chosen operation: every kind of fault, at many places.

    fault_fs.py KEEPER FAULT_FS [PLACES]

Each run writes over the failing file system and is then judged by what the folder below it holds,
read without it. A fault that the disk admits (EIO, ENOSPC, EINTR, a request cancelled, a short write,
a failed sync) may cost nothing that was stored. One that it hides (a write lost, flipped or sent
astray, a flipped or stale read) may cost a record, but never gives another one's bytes. PLACES a kind,
2 by default, on io_uring and on threads each. Exit 77: this machine does not let us mount.
"""
import collections
import concurrent.futures
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import kept

ADMITTED = ["write-eio", "write-enospc", "write-eintr", "write-ecanceled", "write-short",
            "sync-eio", "sync-eintr", "create-enospc"]
HIDDEN = ["write-misdirected", "write-lost", "write-flip"]
READS = ["read-eio", "read-eintr", "read-flip", "read-stale"]
PASSING = ["read-eintr"]  # a read that is tried again, and nothing is lost
BACKENDS = ["uring", "thread"]
FULL = "full"
FOREVER = 1 << 40
RUN_MS = 400
PATIENT_MS = 10000  # a second try of what did too little: a busy machine may have given it no time
IDLE = "nothing is stored although the disk is well again"
SMALL_DISK = "14m"  # three segments and a piece of one
UNSAID_MAX = 200  # records that may be under way without a word
EARLY = 8  # operations: every run comes by the first of them
WRITES_MAX = 200  # what nearly every run makes
CREATES_MAX = 8


class Mounted:
    """FOLDER seen through a file system that fails."""

    def __init__(self, program, folder, fault, index, how_many):
        self.at = folder + ".seen"
        os.makedirs(self.at, exist_ok=True)
        self.wrong = 0  # operations, known when it is unmounted
        self.process = subprocess.Popen(
            [program, folder, self.at, fault, str(index), str(how_many)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        for _ in range(200):
            if os.path.ismount(self.at):
                return self
            if self.process.poll() is not None:
                kept.skip(f"FUSE cannot be mounted here: {self.process.stderr.read().strip()}")
            time.sleep(0.02)
        raise RuntimeError("the failing file system does not come up")

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.at], capture_output=True, check=False)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.wrong = int(self.process.stdout.read() or 0)
        self.process.stdout.close()
        self.process.stderr.close()


def write(keeper, folder, backend, seed, first=0, ms=RUN_MS):
    """One run of `spool_keeper write`; what it said. It may refuse to start on a bad disk."""
    done = subprocess.run([keeper, "write", folder, str(seed), str(first), "3000", str(ms), backend],
                          capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"spool_keeper died ({done.returncode}): {done.stderr.strip()}")
    return done.stdout


def fails_while_writing(keeper, program, folder, fault, index, how_many, backend, seed, ms):
    said = kept.Kept()
    with Mounted(program, folder, fault, index, how_many) as seen:
        said.note(write(keeper, seen.at, backend, seed, ms=ms))
    # A disk that admits its fault and mends must be written again by itself.
    if fault in ADMITTED and how_many < FOREVER and said.opened and not said.stored:
        return [IDLE], said, seen.wrong
    try:
        faults = said.faults(kept.read(keeper, folder, backend), silent=fault in HIDDEN)
    except RuntimeError as told:
        # A recovery that says what it cannot read is no loss, if the disk had said nothing.
        faults = [] if fault in HIDDEN else [str(told)]
    return faults, said, seen.wrong


def fails_while_reading(keeper, program, folder, fault, index, backend, seed):
    said = kept.Kept()
    said.note(write(keeper, folder, backend, seed))
    with Mounted(program, folder, fault, index, 1) as seen:
        try:
            faults = said.faults(kept.read(keeper, seen.at, backend), silent=fault not in PASSING)
        except RuntimeError as told:
            # A recovery that says so is no loss.
            faults = [str(told)] if fault in PASSING else []
    return faults + said.faults(kept.read(keeper, folder, backend)), said, seen.wrong


def full_disk(keeper, folder, backend, seed, ms):
    """A tmpfs that has room for a few segments, and then for all."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "none", folder], check=True)
    said = kept.Kept()
    try:
        said.note(write(keeper, folder, backend, seed))
        faults = said.faults(kept.read(keeper, folder, backend))
        subprocess.run(["mount", "-o", "remount,size=256m", folder], check=True)
        before = len(said.stored)
        said.note(write(keeper, folder, backend, seed, said.next + UNSAID_MAX, ms))
        if len(said.stored) == before:
            faults.append(IDLE)
        return faults + said.faults(kept.read(keeper, folder, backend)), said
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True, check=False)


def place_of(rng, fault, place):
    """The first place is an early one, the others are anywhere."""
    if fault == "create-enospc":
        return 0 if place == 0 else rng.randrange(CREATES_MAX)
    index = rng.randrange(EARLY) if place == 0 else rng.randrange(WRITES_MAX)
    return index // EARLY if fault in READS else index


def cases(places, rng):
    """Every kind at every place, on both backends: (fault, index, how many, backend)."""
    for fault in ADMITTED + HIDDEN + READS:
        for place in range(places):
            for backend in BACKENDS:
                often = place % 2 == 1 and fault not in READS and rng.random() < 0.5
                yield fault, place_of(rng, fault, place), FOREVER if often else 1, backend
    for backend in BACKENDS:
        yield FULL, 0, 1, backend


def main():
    keeper, program = sys.argv[1], sys.argv[2]
    places = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    seed = int(os.environ.get("BULLA_SEED", "1"))
    kept.own_mounts()
    folder = tempfile.mkdtemp(prefix="bulla-faults-")

    def one(number, fault, index, how_many, backend, ms=RUN_MS):
        at = os.path.join(folder, f"{number}-{ms}")
        os.makedirs(at)
        if fault == FULL:
            faults, said = full_disk(keeper, at, backend, seed, ms)
            wrong = 1
        elif fault in READS:
            faults, said, wrong = fails_while_reading(keeper, program, at, fault, index, backend, seed)
        else:
            faults, said, wrong = fails_while_writing(keeper, program, at, fault, index, how_many, backend, seed, ms)
        shutil.rmtree(at)
        if ms == RUN_MS and (faults == [IDLE] or (wrong == 0 and index < EARLY)):
            return one(number, fault, index, how_many, backend, PATIENT_MS)
        return faults, said, wrong

    runs = stored = failed = bad = 0
    wrong = collections.Counter()  # operations, by their fault and the backend that met them
    chosen = list(cases(places, random.Random(seed)))
    try:
        # They mostly wait.
        with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 2)) as pool:
            done = [pool.submit(one, number, *case) for number, case in enumerate(chosen)]
        for (fault, index, how_many, backend), run in zip(chosen, done):
            faults, said, hit = run.result()
            runs += 1
            stored += len(said.stored)
            failed += len(said.failed)
            wrong[fault, backend] += hit
            if faults:
                bad += 1
                print(f"{fault} at {index}, {how_many} of them, {backend} (BULLA_SEED={seed}):", *faults[:5],
                      sep="\n  ")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"fault_fs: {runs} runs, {sum(wrong.values())} operations failed, {stored} stored, {failed} refused, "
          f"{bad} wrong")
    never = [" ".join(pair) for pair, hit in wrong.items() if hit == 0]
    if never or stored == 0:
        print(f"nothing was ever stored, or these never happened: {', '.join(never)}; the test proves nothing")
        return 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

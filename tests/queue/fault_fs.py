#!/usr/bin/env python3
"""The spool on a file system that fails at a chosen operation: every kind of fault, at many places.

    fault_fs.py KEEPER FAULT_FS [PLACES]

Each run writes over the failing file system and is then judged by what the folder below it holds,
read without it. A fault that the disk admits (EIO, ENOSPC, a short write, a failed sync) may cost
nothing that was stored. One that it hides (a write lost, flipped or sent astray, a flipped or stale
read) may cost a record, but never gives another one's bytes. PLACES a kind, 2 by default. Exit 77:
this machine does not let us mount.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import kept

ADMITTED = ["write-eio", "write-enospc", "write-short", "sync-eio", "create-enospc"]
HIDDEN = ["write-misdirected", "write-lost", "write-flip"]
READS = ["read-eio", "read-flip", "read-stale"]
FOREVER = 1 << 40
RUN_MS = 500
SMALL_DISK = "14m"  # three segments and a piece of one
UNSAID_MAX = 200  # records that may be under way without a word
WRITES_MAX = 400  # about what a run makes


class Mounted:
    """FOLDER seen through a file system that fails."""

    def __init__(self, program, folder, fault, index, how_many):
        self.at = folder + ".seen"
        os.makedirs(self.at, exist_ok=True)
        self.process = subprocess.Popen(
            [program, folder, self.at, fault, str(index), str(how_many)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        for _ in range(200):
            if os.path.ismount(self.at):
                return self.at
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
        self.process.stderr.close()


def write(keeper, folder, backend, seed, first=0):
    """One run of `spool_keeper write`; what it said. It may refuse to start on a bad disk."""
    done = subprocess.run([keeper, "write", folder, str(seed), str(first), "3000", str(RUN_MS), backend],
                          capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"spool_keeper died ({done.returncode}): {done.stderr.strip()}")
    return done.stdout


def fails_while_writing(keeper, program, folder, fault, index, how_many, backend, seed):
    said = kept.Kept()
    with Mounted(program, folder, fault, index, how_many) as at:
        said.note(write(keeper, at, backend, seed))
        # A disk that admits its fault and mends must be written again by itself.
        if fault in ADMITTED and how_many < FOREVER and said.opened and not said.stored:
            return ["nothing was stored after one fault"], said
    return said.faults(kept.read(keeper, folder, backend), silent=fault in HIDDEN), said


def fails_while_reading(keeper, program, folder, fault, index, backend, seed):
    said = kept.Kept()
    said.note(write(keeper, folder, backend, seed))
    with Mounted(program, folder, fault, index, 1) as at:
        try:
            faults = said.faults(kept.read(keeper, at, backend), silent=True)
        except RuntimeError:
            faults = []  # a recovery that says so is no loss
    return faults + said.faults(kept.read(keeper, folder, backend)), said


def full_disk(keeper, folder, backend, seed):
    """A tmpfs that has room for a few segments, and then for all."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "none", folder], check=True)
    said = kept.Kept()
    try:
        said.note(write(keeper, folder, backend, seed))
        faults = said.faults(kept.read(keeper, folder, backend))
        subprocess.run(["mount", "-o", "remount,size=256m", folder], check=True)
        before = len(said.stored)
        said.note(write(keeper, folder, backend, seed, said.next + UNSAID_MAX))
        if len(said.stored) == before:
            faults.append("nothing is stored although there is room again")
        return faults + said.faults(kept.read(keeper, folder, backend)), said
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True, check=False)


def main():
    keeper, program = sys.argv[1], sys.argv[2]
    places = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    seed = int(os.environ.get("BULLA_SEED", "1"))
    rng = random.Random(seed)
    kept.own_mounts()
    folder = tempfile.mkdtemp(prefix="bulla-faults-")
    runs = stored = failed = 0
    bad = []
    try:
        for fault in ADMITTED + HIDDEN + READS:
            for place in range(places):
                index = rng.randrange(8) if place == 0 else rng.randrange(WRITES_MAX)
                how_many = FOREVER if place % 2 == 1 and rng.random() < 0.5 else 1
                backend = rng.choice(["uring", "thread"])
                at = os.path.join(folder, f"{fault}-{place}")
                os.makedirs(at)
                if fault in READS:
                    faults, said = fails_while_reading(keeper, program, at, fault, index // 8,
                                                       backend, seed)
                else:
                    faults, said = fails_while_writing(keeper, program, at, fault, index, how_many,
                                                       backend, seed)
                runs += 1
                stored += len(said.stored)
                failed += len(said.failed)
                if faults:
                    bad.append((fault, index, how_many, backend, faults[:5]))
                shutil.rmtree(at)
        for backend in ("uring", "thread"):
            at = os.path.join(folder, "full-" + backend)
            os.makedirs(at)
            faults, said = full_disk(keeper, at, backend, seed)
            runs += 1
            stored += len(said.stored)
            failed += len(said.failed)
            if faults:
                bad.append(("full", 0, 1, backend, faults[:5]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for fault, index, how_many, backend, faults in bad:
        print(f"{fault} at {index}, {how_many} of them, {backend} (BULLA_SEED={seed}):", *faults,
              sep="\n  ")
    print(f"{runs} runs, {stored} stored, {failed} refused, {len(bad)} wrong")
    if stored == 0:
        print("nothing was ever stored: the test proves nothing")
        return 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

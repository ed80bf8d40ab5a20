#!/usr/bin/env python3
"""Cuts the power of real file systems under a spool that is being written, and recovers.

    power_cut.py KEEPER [CUTS]

ext4 and xfs on loop devices, by turns. A cut is the file system's shutdown ioctl without a flush of
its log: what had not reached the device is gone, and mounting it again replays its journal, as
after a power cut. CUTS are 10 by default. Exit 77: this machine does not let us mount.
"""
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import kept

SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): ext4's and xfs' own
SHUTDOWN_NO_LOG_FLUSH = 2
IMAGE_BYTES = 512 << 20
RUN_MS_MAX = 1500
UNSAID_MAX = 200  # records that may be under way without a word
CUTS_A_FILE_SYSTEM = 16  # then a new one is made
KINDS = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}


class FileSystem:
    def __init__(self, folder, kind):
        self.kind = kind
        self.image = os.path.join(folder, kind + ".img")
        self.at = os.path.join(folder, kind)
        os.makedirs(self.at, exist_ok=True)
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_BYTES)
        subprocess.run([*KINDS[kind], self.image], check=True, stdout=subprocess.DEVNULL)
        self.kept = kept.Kept()
        self.cuts = 0

    def mount(self):
        done = subprocess.run(["mount", "-t", self.kind, "-o", "loop", self.image, self.at],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            kept.skip(f"{self.kind} cannot be mounted here: {done.stderr.strip()}")
        self.spool = os.path.join(self.at, "spool")
        if not os.path.isdir(self.spool):
            os.makedirs(self.spool)
            os.sync()  # the folder is the administrator's; it stood long before

    def unmount(self):
        for _ in range(100):
            done = subprocess.run(["umount", self.at], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError(f"umount: {done.stderr.strip()}")

    def cut(self):
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", SHUTDOWN_NO_LOG_FLUSH))
        finally:
            os.close(fd)


def one_cut(fs, keeper, backend, rng):
    """Writes for a while, cuts, mounts again, recovers; the faults."""
    fs.mount()
    writer = subprocess.Popen(
        [keeper, "write", fs.spool, str(rng.getrandbits(32)), str(fs.kept.next), "4000",
         str(2 * RUN_MS_MAX), backend], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # Most cuts meet records under way; a few come while the spool is still being made.
    time.sleep(rng.uniform(0.0, RUN_MS_MAX / 1000) ** 1.5)
    fs.cut()
    # What it is told from here on is the file system's refusal; it must not take it for good news.
    time.sleep(0.05)
    writer.kill()
    said, _ = writer.communicate(timeout=60)
    fs.kept.note(said[:said.rfind("\n") + 1])
    fs.kept.next += UNSAID_MAX
    fs.unmount()
    fs.mount()
    try:
        return fs.kept.faults(kept.read(keeper, fs.spool, backend))
    except RuntimeError as fault:
        return [str(fault)]
    finally:
        fs.unmount()


def main():
    keeper = sys.argv[1]
    cuts = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    seed = int(os.environ.get("BULLA_SEED", "1"))
    rng = random.Random(seed)
    kept.own_mounts()
    for make in KINDS.values():
        if shutil.which(make[0]) is None:
            kept.skip(f"{make[0]} is missing: tools/deps installs it")
    folder = tempfile.mkdtemp(prefix="bulla-power-")
    totals = {"cuts": 0, "stored": 0, "forgotten": 0, "failed": 0, "lost": 0}
    systems = {}
    status = 0
    try:
        for n in range(cuts):
            kind = list(KINDS)[n % len(KINDS)]
            fs = systems.get(kind)
            if fs is None or fs.cuts == CUTS_A_FILE_SYSTEM:
                fs = systems[kind] = FileSystem(folder, kind)
            fs.cuts += 1
            before = len(fs.kept.stored), len(fs.kept.forgotten), len(fs.kept.failed)
            try:
                faults = one_cut(fs, keeper, rng.choice(["uring", "thread"]), rng)
            except subprocess.TimeoutExpired as stuck:  # a failure, and nothing is known to be lost
                print(f"cut {n} of {kind} (BULLA_SEED={seed}):", stuck, sep="\n  ")
                status = 1
                break
            totals["cuts"] += 1
            totals["stored"] += len(fs.kept.stored) - before[0]
            totals["forgotten"] += len(fs.kept.forgotten) - before[1]
            totals["failed"] += len(fs.kept.failed) - before[2]
            if faults:
                totals["lost"] += len(faults)
                status = 1
                print(f"cut {n} of {kind} (BULLA_SEED={seed}):", *faults[:10], sep="\n  ")
                break
    finally:
        for fs in systems.values():
            subprocess.run(["umount", "-l", fs.at], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
    print(", ".join(f"{count} {what}" for what, count in totals.items()))
    if totals["stored"] == 0:
        print("nothing was ever stored: the test proves nothing")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())

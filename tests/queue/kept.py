"""What spool_keeper said while it wrote, and what may be found of it afterwards.

`Kept` takes the lines of `spool_keeper write`, over any number of runs on one spool, and judges
those of `spool_keeper read`: stored and not to be forgotten is there, whole, once; forgotten or
failed is not; held is held. What was on its way may be there or not, but whole.
"""
import ctypes
import subprocess
import sys

CLONE_NEWNS = 0x00020000
READ_S_MAX = 600  # a machine full of other work starves it for minutes


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def own_mounts():
    """Mounts of ours are seen by us alone, and go with us."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        skip("no mount namespace of our own: run as root")
    done = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)
    if done.returncode != 0:
        skip("mounts cannot be made private")


class Kept:
    def __init__(self):
        self.stored = set()
        self.failed = set()
        self.leaving = set()
        self.forgotten = set()
        self.marking = set()
        self.held = set()
        self.next = 0
        self.opened = False

    def note(self, text):
        sets = {"S": self.stored, "X": self.failed, "f": self.leaving, "F": self.forgotten,
                "h": self.marking, "H": self.held}
        for line in text.splitlines():
            what, number = line[0], int(line[2:])
            if what in sets:
                sets[what].add(number)
            if what == "O":
                self.opened = True
            # A record that was given without a word has no other line, so its number is never
            # used again: the next run starts well after all that were said.
            self.next = max(self.next, number + 1)

    def faults(self, text, silent=False):
        """`silent`: the disk lied or cannot be read, so a record may be lost or damaged, or a
        forgotten one found; but none may come back with other bytes than it was given."""
        found, held, faults = set(), set(), []
        for line in text.splitlines():
            _, number, mark, state = line.split()
            number = int(number)
            if number in found:
                faults.append(f"{number} is found twice")
            found.add(number)
            if mark == "held":
                held.add(number)
            if state != "whole" and not (silent and state in ("damaged", "unread")):
                faults.append(f"{number} is {state}")
        if silent:
            return faults
        faults += [f"{n} was stored and is lost" for n in self.stored - self.leaving - found]
        faults += [f"{n} was forgotten and is found" for n in self.forgotten & found]
        faults += [f"{n} failed and is found" for n in self.failed & found]
        faults += [f"{n} was held and is not" for n in (self.held & found) - held]
        faults += [f"{n} is held by nobody's wish" for n in held - self.marking]
        return faults


def read(keeper, folder, backend="uring"):
    """Lines of `spool_keeper read`, or an exception with what it said."""
    done = subprocess.run([keeper, "read", folder, backend], capture_output=True, text=True,
                          timeout=READ_S_MAX, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"recovery failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout

#!/usr/bin/env python3
"""That the code which workers run has no writable static data: what two workers could meet in.

    tests/engine/statics_test.py ARCHIVE...

Reads the symbol tables of the build's archives. Data that the loader alone writes (.data.rel.ro) is
constant. Objects that no worker runs may have some.
"""
import re
import subprocess
import sys

CONTROL_ONLY = {"config.c.o", "eal.c.o", "placement.c.o", "status.c.o", "log.c.o"}
ASKED_AT_START = {"isa.c.o"}  # written once, by the first who asks what the processor can do
SYMBOL = re.compile(r"^[0-9a-f]{16} .{7} (\.(?:bss|data|tbss|tdata)\S*)\t([0-9a-f]{16}) (.*)$", re.M)


def statics(archive):
    table = subprocess.run(["objdump", "-t", archive], check=True, capture_output=True,
                           text=True).stdout
    for part in re.split(r"\n(?=\S+:\s+file format )", table):
        name = part.strip().split(":", 1)[0]
        for section, size, symbol in SYMBOL.findall(part):
            if int(size, 16) > 0 and not section.startswith(".data.rel.ro"):
                yield name, section, symbol


def main():
    faults = []
    objects = 0
    for archive in sys.argv[1:]:
        listed = subprocess.run(["ar", "t", archive], check=True, capture_output=True, text=True)
        objects += len(listed.stdout.split())
        faults += [f"{archive}: {name} has {symbol} in {section}"
                   for name, section, symbol in statics(archive) if name not in CONTROL_ONLY | ASKED_AT_START]
    for fault in faults:
        print(fault)
    print(f"{objects} objects, {len(faults)} faults")
    sys.exit(1 if faults or objects < 20 else 0)


if __name__ == "__main__":
    main()

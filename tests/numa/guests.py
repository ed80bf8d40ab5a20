#!/usr/bin/env python3
"""Boots a machine of several NUMA nodes under qemu and judges where the engine's memory lies in it.

    tests/numa/guests.py GUEST_PROGRAM MACHINE

The machine runs a Linux kernel of this one's (/boot, or BULLA_KERNEL) with the guest program and the
libraries it needs as its only files. Exit 77 where qemu or a kernel is missing. What the guest
prints, tests/numa/guest.h says; what is promised, docs/engine/placement.md.
"""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

GUEST_SECONDS = 60
KEYS_SHARE_MIN = 0.95  # the rest: a few pages of libcurl's and the allocator's that were there before


class Machine:
    """nodes: (processors, MiB) each; distances: qemu's, where they are not all alike."""

    def __init__(self, nodes, hugepages=0, distances=(), joins=None):
        self.nodes = nodes
        self.hugepages = hugepages
        self.distances = distances
        self.joins = joins or {}  # node without memory: to which Linux counts its processors

    def cpus(self, node):
        first = sum(cpus for cpus, _ in self.nodes[:node])
        return set(range(first, first + self.nodes[node][0]))

    def homes(self):
        """What the guest's kernel makes of it: nodes with processors, and which."""
        found = {}
        for node, (cpus, _) in enumerate(self.nodes):
            if cpus:
                found.setdefault(self.joins.get(node, node), set()).update(self.cpus(node))
        return found

    def arguments(self):
        for node, (cpus, mebibytes) in enumerate(self.nodes):
            words = [f"node,nodeid={node}"]
            if mebibytes:
                yield from ("-object", f"memory-backend-ram,id=m{node},size={mebibytes}M")
                words.append(f"memdev=m{node}")
            if cpus:
                words.append(f"cpus={min(self.cpus(node))}-{max(self.cpus(node))}")
            yield from ("-numa", ",".join(words))
        for source, target, value in self.distances:
            yield from ("-numa", f"dist,src={source},dst={target},val={value}")
        yield from ("-smp", str(sum(cpus for cpus, _ in self.nodes)))
        yield from ("-m", str(sum(mebibytes for _, mebibytes in self.nodes)))


MACHINES = {
    "two": Machine([(2, 640), (2, 640)]),
    "two-huge": Machine([(2, 640), (2, 640)], hugepages=48),
    "four": Machine([(2, 512)] * 4, distances=[(0, 1, 12), (0, 2, 21), (0, 3, 21), (1, 2, 21),
                                               (1, 3, 21), (2, 3, 12)]),
    # Node 1 has no memory, nodes 2 and 3 no processors; node 1 is nearest to node 2.
    "ragged": Machine([(2, 640), (2, 0), (0, 512), (0, 256)], joins={1: 2},
                      distances=[(0, 1, 31), (0, 2, 31), (0, 3, 17), (1, 2, 12), (1, 3, 20),
                                 (2, 3, 20)]),
}


def skip(why):
    print(f"SKIP: {why}", file=sys.stderr)
    sys.exit(77)


def kernel():
    """The newest that may be read; one for virtual machines first, since it boots fastest."""
    if os.environ.get("BULLA_KERNEL"):
        return os.environ["BULLA_KERNEL"]
    found = [path for path in glob.glob("/boot/vmlinuz-*") if os.access(path, os.R_OK)]
    if not found:
        skip("no kernel to boot: install linux-image-cloud-amd64 (tools/deps does), or name one in "
             "BULLA_KERNEL")
    return max(found, key=lambda path: ("cloud" in path, os.path.getmtime(path)))


def libraries(program):
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"(/\S+) \(0x", listed)))


def archive(out, files):
    """The kernel's initramfs: cpio, "newc"."""
    def entry(name, mode, body=b"", device=(0, 0)):
        name = name.encode() + b"\0"
        fields = [0, mode, 0, 0, 1, 0, len(body), 0, 0, *device, len(name), 0]
        head = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name
        out.write(head + b"\0" * (-len(head) % 4) + body + b"\0" * (-len(body) % 4))

    folders = {"dev", "proc", "sys", "tmp"}
    for name in files:
        parts = name.split("/")[:-1]
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    for folder in sorted(folders):
        entry(folder, 0o40755)
    entry("dev/console", 0o20600, device=(5, 1))
    for name, path in files.items():
        with open(path, "rb") as file:
            entry(name, 0o100755, file.read())
    entry("TRAILER!!!", 0)


def run(program, machine):
    """What the guest printed. Ended after GUEST_SECONDS, whatever it does."""
    boots = kernel()
    with tempfile.TemporaryDirectory(prefix="bulla-numa-") as folder:
        bare = os.path.join(folder, "init")
        strip = shutil.which("strip")
        if strip is None or subprocess.run([strip, "-o", bare, program], check=False).returncode:
            shutil.copy(program, bare)
        files = {"init": bare} | {path.lstrip("/"): path for path in libraries(program)}
        with open(os.path.join(folder, "initramfs"), "wb") as out:
            archive(out, files)
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-nodefaults",
            "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
            "-kernel", boots, "-initrd", os.path.join(folder, "initramfs"), *machine.arguments(),
            "-append", f"console=ttyS0 quiet panic=-1 bulla.hugepages={machine.hugepages}"]
        guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        try:
            printed, _ = guest.communicate(timeout=GUEST_SECONDS)
        except subprocess.TimeoutExpired:
            guest.send_signal(signal.SIGKILL)
            printed, _ = guest.communicate()
            printed += f"\n(ended after {GUEST_SECONDS} s)\n".encode()
    return printed.decode(errors="replace").replace("\r", "")


def numbers(text):
    """0-2,5 as a set."""
    found = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def spots(words):
    return {int(node): int(pages) for node, pages in (word.split(":") for word in words)}


class Guest(unittest.TestCase):
    """One boot, judged by several tests."""
    program = machine = printed = None

    @classmethod
    def setUpClass(cls):
        cls.printed = run(cls.program, cls.machine)
        cls.lines = [line.split() for line in cls.printed.splitlines() if line.strip()]
        cls.workers = {int(w[1]): {"cpu": int(w[3]), "node": int(w[5]), "memory": int(w[7])}
                       for w in cls.said("worker", 8) if w[6] == "memory"}
        cls.floats = {int(w[1]): numbers(w[2]) for w in cls.said("float", 3)}
        print(cls.printed, flush=True)
        if ["guest", "done"] not in cls.lines or not cls.workers:
            raise AssertionError("the guest did not come to its end")

    @classmethod
    def said(cls, word, least):
        return [line for line in cls.lines if line[0] == word and len(line) >= least]

    def test_every_node_with_a_core_to_spare_has_a_worker(self):
        self.assertEqual(sorted(self.machine.homes()),
                         sorted(worker["node"] for worker in self.workers.values()))
        for worker in self.workers.values():
            self.assertIn(worker["cpu"], self.machine.homes()[worker["node"]])
            self.assertEqual(worker["node"], worker["memory"])

    def test_all_memory_of_a_worker_is_on_its_node(self):
        areas = self.said("area", 5)
        for index, worker in self.workers.items():
            own = [words for words in areas if int(words[1]) == index]
            self.assertGreater(len(own), 15)
            for words in own:
                self.assertEqual({worker["memory"]: int(words[3])}, spots(words[4:]), " ".join(words))

    def test_workers_run_where_they_were_put(self):
        threads = {words[1]: words for words in self.said("thread", 6)}
        for index, worker in self.workers.items():
            words = threads[f"rte-worker-{index + 1}"]
            self.assertEqual((worker["cpu"], {worker["cpu"]}), (int(words[3]), numbers(words[5])))

    def test_key_threads_float_over_their_own_node(self):
        self.assertEqual(sorted(self.machine.homes()), sorted(self.floats))
        taken = {worker["cpu"] for worker in self.workers.values()}
        for node, cpus in self.floats.items():
            self.assertLessEqual(cpus, self.machine.homes()[node] - taken)
        may = [numbers(words[5]) for words in self.said("thread", 6) if words[1] == "bulla-keys"]
        self.assertEqual(sorted(map(sorted, self.floats.values())), sorted(map(sorted, may)))

    def test_key_threads_have_their_memory_on_their_node(self):
        keys = [words for words in self.said("keys", 5) if words[2] == "memory"]
        self.assertEqual(sorted(self.machine.homes()), sorted(int(words[1]) for words in keys))
        for words in keys:
            taken = spots(words[4:])
            self.assertGreater(taken.get(int(words[3]), 0), KEYS_SHARE_MIN * sum(taken.values()),
                               " ".join(words))

    def test_hugepages_are_used_where_they_are_reserved(self):
        self.assertIn(["hugepages", "yes" if self.machine.hugepages else "no"], self.lines)

    def test_arenas_have_huge_pages_where_the_kernel_lets_them(self):
        (words,) = self.said("arenas", 5)
        huge, small = int(words[2]), int(words[4])
        self.assertGreater(huge + small, 0)
        if self.machine.hugepages:
            self.assertGreater(huge, small, " ".join(words))
        else:
            self.assertEqual(0, huge)


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in MACHINES:
        sys.exit(f"usage: {sys.argv[0]} GUEST_PROGRAM {'|'.join(MACHINES)}")
    if shutil.which("qemu-system-x86_64") is None:
        skip("no qemu-system-x86_64: install qemu-system-x86 (tools/deps does)")
    kernel()
    Guest.program, Guest.machine = sys.argv[1], MACHINES[sys.argv[2]]
    unittest.main(argv=sys.argv[:1], verbosity=2)


if __name__ == "__main__":
    main()

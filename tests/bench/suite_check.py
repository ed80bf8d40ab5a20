"""`bulla-bench suite --short`: its JSON has every claim, and says of each what it must. BULLA_SUITE_ROWS names the rows
to measure, by commas, or is "all"; without it those that take the longest are left to `tools/soak suite`.

No time is judged. What a machine lacks (a corpus, a browser) stands there as not measured, with the reason.
"""
import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile

CLAIMS_OF_ROW = {"small": 1, "large": 3, "corpus": 2, "size": 4, "browser": 6, "latency": 2, "tail": 1, "hotpath": 4,
                 "memory": 3, "idle": 1, "keyservice": 1, "spool": 6,
                 "scaling": 1}
MEASURED_EVERYWHERE = {"small", "large", "latency", "tail", "memory", "idle", "keyservice"}
FIGURES_OF_ROW = {"spool": {"spool"}}
LONGEST = {"corpus", "browser", "spool"}
CHOSEN = os.environ.get("BULLA_SUITE_ROWS", "")
ROWS = (list(CLAIMS_OF_ROW) if CHOSEN == "all"
        else [row for row in CHOSEN.split(",") if row] or [row for row in CLAIMS_OF_ROW if row not in LONGEST])
FIGURES = {"small", "large", "size", "latency_half_load", "latency_curve", "tail", "hotpath", "memory", "idle",
           "workers", "mixed_sizes", "many_clients", "keyservice", "real", "spool"}
TOO_BUSY = ("nothing was sealed", "of ")  # on a machine that gives the engine no time: no fault of the suite
COMPARES = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b}


def suite(program, *options):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "out.json")
        done = subprocess.run([program, "suite", "--short", "--json", path, *options], capture_output=True, text=True,
                              timeout=500)
        assert done.returncode == 0, done.stderr
        with open(path, encoding="utf-8") as file:
            return done, json.load(file)


def scheduling():
    """The nice value of this session's autogroup: sched(7)."""
    try:
        with open("/proc/self/autogroup", encoding="ascii") as file:
            return file.read()
    except OSError:
        return None


def check_claim(claim):
    for field in ("row", "name", "value", "unit", "target", "compare", "holds", "peer", "limit", "runs"):
        assert field in claim, (field, claim)
    if claim["value"] is None:
        assert claim["holds"] is False and claim["why"] and claim["runs"] == [], claim
        return
    assert claim["runs"] and claim["min"] <= claim["value"] <= claim["max"], claim
    assert claim["holds"] is COMPARES[claim["compare"]](claim["value"], claim["target"]), claim
    for side in (claim["peer"], claim["limit"]):
        assert side is None or (side["name"] and side["unit"] and side["value"] >= 0), claim


def check_spool(found):
    """What was taken over was drained and found again; where no disk is, the reason says so."""
    figures = found["figures"]["spool"]
    claims = [claim for claim in found["claims"] if claim["row"] == "spool"]
    assert all(claim["peer"] or claim["limit"] for claim in claims if claim["value"] is not None), claims
    for turn in figures["turns"]:
        assert turn["drained"] > 0 and turn["bytes_a_message"] > 4096 and turn["bytes_a_write"] >= 4096, turn
        assert min(turn["raw_mb_per_s"], turn["raw_reads_per_s"], turn["synced_per_s"]) > 0, turn
    if "waiting" in figures:
        waiting = figures["waiting"]
        assert waiting["messages"] > 0 and waiting["disk_bytes_each"] > 1024, waiting
        assert waiting["resident_mib"] > waiting["resident_mib_before"] > 0, waiting
    memory = next(claim for claim in claims if claim["unit"] == "MiB")
    assert memory["value"] is None or "reckoned from" in memory["why"], memory


def check_everything(program):
    left_out = CLAIMS_OF_ROW.keys() - set(ROWS)
    done, found = suite(program, *(["--only", ",".join(ROWS)] if left_out else []))
    print(done.stdout, done.stderr, sep="\n")
    print(f"suite: {sum(claim['value'] is not None for claim in found['claims'])} claims measured", flush=True)
    for name in ("processor", "cores", "kernel", "isa", "compiler", "commit"):
        assert found["machine"][name], name
    rows = collections.Counter(claim["row"] for claim in found["claims"])
    assert rows == CLAIMS_OF_ROW, rows
    for claim in found["claims"]:
        check_claim(claim)
        assert (claim["value"] is not None or claim["row"] not in MEASURED_EVERYWHERE
                or claim["row"] in left_out or claim["why"].startswith(TOO_BUSY)), claim
    figures = FIGURES.difference(*(FIGURES_OF_ROW.get(row, set()) for row in left_out))
    assert figures <= set(found["figures"]), figures - set(found["figures"])
    assert [point["load_percent"] for point in found["figures"]["latency_curve"]] == list(range(10, 100, 10))
    for counts in found["figures"]["hotpath"]:
        assert counts["messages"] > 0 and counts["allocator_calls"] == 0 and counts["lock_calls"] == 0, counts
        assert counts["log_calls"] == 0 and counts["system_calls"] == 0, counts
    control = found["figures"]["hotpath_control"]  # an engine that sleeps: the counters can see
    assert control["allocator_calls_of_all_threads"] > 0, control
    assert control["system_calls"] > 0 or not control["system_calls_traced"], control
    # The best turn: one of them may have been given no time by a busy machine.
    assert found["figures"]["small"]["engine_spans"]["messages_per_s"]["max"] > 0
    assert found["figures"]["small"]["not_sealed"] == 0
    for way in ("engine_spans", "engine_flattened", "engine_in_place"):
        assert found["figures"]["small"][way]["worker_preemptions_per_s"]["min"] >= 0, way
    for point in found["figures"]["latency_curve"]:
        assert point["worker_preemptions_per_s"] >= 0, point
    for name in ("mixed_sizes", "many_clients"):
        figure = found["figures"][name]
        assert (figure.get("why", "").startswith(TOO_BUSY)
                or figure.get("worker_preemptions_per_s", {"min": -1})["min"] >= 0), (name, figure)

    if "spool" not in left_out:
        check_spool(found)
    scaling = next(claim for claim in found["claims"] if claim["row"] == "scaling")
    if len(os.sched_getaffinity(0)) < 4:  # on more they may be hyperthreads: then either is right
        assert scaling["value"] is None and "four cores" in scaling["why"], scaling


def check_rows_left_out_are_shown(program):
    before = scheduling()
    _, found = suite(program, "--only", "idle")
    assert scheduling() == before, "the suite changed the session it ran in"
    assert found["machine"]["nice"] == os.getpriority(os.PRIO_PROCESS, 0), found["machine"]
    assert len(found["claims"]) == sum(CLAIMS_OF_ROW.values())
    for claim in found["claims"]:
        check_claim(claim)
        assert (claim["value"] is None) == (claim["row"] != "idle"), claim
        assert claim["row"] == "idle" or "--only" in claim["why"], claim


def check_usage(program):
    done = subprocess.run([program, "suite", "stray"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 64 and "--corpus" in done.stderr, done


def check_a_copy_runs_nothing(program):
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(program, folder)
        done = subprocess.run([copy, "suite", "--short", "--only", "idle"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 69 and "build tree" in done.stderr, done


for check in (check_usage, check_a_copy_runs_nothing, check_rows_left_out_are_shown, check_everything):
    check(sys.argv[1])
    print(f"{check.__name__}: passed")

"""bulla-bench against the real engine: what it prints and writes can be trusted, also when overloaded.

Run inside `tools/demo --exec`. No figure is judged, only that figures agree with one another.
"""
import json
import os
import subprocess
import sys
import tempfile


def bench(*options):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "out.json")
        done = subprocess.run(["bulla-bench", "--json", path, *options], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        with open(path, encoding="utf-8") as file:
            return done.stdout, json.load(file)


def check_capacity():
    table, found = bench("--sizes", "4KiB:3,100KiB:1", "--seconds", "0.4", "--warmup", "0.1", "--runs", "2")
    assert len(found["runs"]) == 2
    for run in found["runs"]:
        assert run["sealed"] > 0 and run["not_sealed"] == 0 and run["unanswered"] == 0, run
        assert run["worker_preemptions_per_s"] is None, run  # somebody else's engine
        assert run["sealed_bytes"] > run["mail_bytes"] > run["sealed"] * 4096, run
    spread = found["summary"]["messages_per_s"]
    assert spread["min"] <= spread["median"] <= spread["max"]
    assert found["limit_aes_256_gcm"]["mb_per_s"] > found["peer_openssl_cms"]["mb_per_s"] > 0
    assert found["workers"] >= found["workers_active"] == 1
    assert "engine at" in table and "OpenSSL CMS" in table


def check_overload_is_shown():
    table, found = bench("--rate", "50000000", "--seconds", "0.3", "--warmup", "0", "--runs", "1", "--no-peers")
    run = found["runs"][0]
    assert run["backlog"] > run["sealed"], run
    assert "OVERLOADED" in table, table
    # Nearly all waited since they fell due: the median is about half of the time measured.
    assert run["p50_us"] > 100_000, run


def check_refusals_are_shown():
    table, found = bench("--profile", "nobody", "--seconds", "0.2", "--warmup", "0", "--runs", "1", "--no-peers")
    assert found["runs"][0]["sealed"] == 0 and found["runs"][0]["not_sealed"] > 0
    assert "nobody" in table, table


def check_usage():
    for options in (["--sizes", "4XiB"], ["--rate", "-1"], ["stray"], ["--mail", "/nonexistent"]):
        done = subprocess.run(["bulla-bench", *options], capture_output=True, text=True, timeout=20)
        assert done.returncode in (64, 66) and done.stderr, (options, done)
    done = subprocess.run(["bulla-bench", "--socket", "/nonexistent"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 69 and "start bullad" in done.stderr, done


for check in (check_usage, check_capacity, check_overload_is_shown, check_refusals_are_shown):
    check()
    print(f"{check.__name__}: passed")
sys.exit(0)

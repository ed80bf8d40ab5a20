"""The scripts under tools/ that judge: what they must not let pass."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"


def run(*command, **options):
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=100, check=False, **options)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class CountTests(Folder):
    """tools/count-tests over real runs of ctest."""

    def counted(self, tests):
        self.write("CTestTestfile.cmake", tests)
        results = self.folder / "results.xml"
        ended = run("ctest", "--test-dir", self.folder, "--output-junit", results)
        counted = run(TOOLS / "count-tests", results, ended.returncode)
        self.assertEqual((0, ""), (counted.returncode, counted.stderr))
        return counted.stdout.splitlines()

    def test_what_ran_is_counted(self):
        lines = self.counted('add_test(good "/bin/true")\nadd_test(bad "/bin/sh" "-c" "echo so; exit 1")\n')
        self.assertEqual(["1 1 0 bad -", "--- bad", "so"], lines)

    def test_each_failed_one_says_its_end_without_what_went_well(self):
        told = "printf 'ok 1 - fine\\n[       OK ] fine\\n  ---\\n  duration_ms: 3\\n'; seq 100; echo 'not ok 2 - %s'; exit 1"
        lines = self.counted("".join(f'add_test({name} "/bin/sh" "-c" "{told % name}")\n'.replace("\\n", "\\\\n")
                                     for name in ("one", "two")))
        numbers = [str(number) for number in range(42, 101)]
        self.assertEqual(["0 2 0 one,two -", "--- one", *numbers, "not ok 2 - one",
                          "--- two", *numbers, "not ok 2 - two"], lines)

    def test_all_good(self):
        self.assertEqual(["1 0 0 - -"], self.counted('add_test(good "/bin/true")\n'))

    def test_a_missing_program_has_failed(self):
        lines = self.counted('add_test(good "/bin/true")\nadd_test(gone "/nonexistent/gone_test")\n')
        self.assertEqual("1 1 0 gone -", lines[0])

    def test_what_could_not_run_has_failed(self):
        lines = self.counted(
            'add_test(file "/bin/true")\n'
            "set_tests_properties(file PROPERTIES REQUIRED_FILES /nonexistent/file)\n"
            'add_test(off "/bin/true")\nset_tests_properties(off PROPERTIES DISABLED TRUE)\n'
            'add_test(crash "/bin/sh" "-c" "kill -SEGV $$")\n')
        self.assertEqual("0 3 0 file,off,crash -", lines[0])

    def test_only_who_says_so_is_skipped(self):
        lines = self.counted('add_test(skip "/bin/sh" "-c" "exit 77")\n'
                             "set_tests_properties(skip PROPERTIES SKIP_RETURN_CODE 77)\n")
        self.assertEqual(["0 0 1 - skip"], lines)

    def test_a_run_without_tests_has_failed(self):
        self.assertEqual(["0 1 0 (ctest:no-tests) -"], self.counted(""))

    def test_a_bad_end_has_failed_though_no_test_did(self):
        self.counted('add_test(good "/bin/true")\n')
        for status, name in ((8, "status-8"), (124, "out-of-time"), (137, "out-of-time")):
            counted = run(TOOLS / "count-tests", self.folder / "results.xml", status)
            self.assertEqual(f"1 1 0 (ctest:{name}) -\n", counted.stdout)

    def test_results_that_are_missing_or_broken_have_failed(self):
        for path in (self.folder / "none.xml", self.write("broken.xml", "<testsuite><testcase ")):
            counted = run(TOOLS / "count-tests", path, 0)
            self.assertEqual("0 1 0 (ctest:no-results) -\n", counted.stdout)


class Tree(Folder):
    """A source tree of its own for one of the tools."""

    def tool(self, name):
        self.write("tools/.keep", "")
        shutil.copy(TOOLS / name, self.folder / "tools" / name)
        shutil.copy(ROOT / ".clang-format", self.folder)
        environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(self.folder.parent)}
        return run(self.folder / "tools" / name, env=environment)

    def repository(self):
        run("git", "init", "-q", self.folder)


class CheckFormat(Tree):
    def test_no_repository_is_a_failure(self):
        self.write("a.c", "int a;\n")
        self.assertNotEqual(0, self.tool("check-format").returncode)

    def test_no_file_is_a_failure(self):
        self.repository()
        ended = self.tool("check-format")
        self.assertEqual(1, ended.returncode)
        self.assertIn("no C file", ended.stderr)

    @unittest.skipUnless(shutil.which("clang-format"), "no clang-format")
    def test_layout_decides(self):
        self.repository()
        self.write("with space/a.c", "int a;\n")
        self.assertEqual(0, self.tool("check-format").returncode)
        self.write("b.h", "int   b ;\n")
        ended = self.tool("check-format")
        self.assertNotEqual(0, ended.returncode)
        self.assertIn("b.h", ended.stderr)


class CheckScripts(Tree):
    def test_no_repository_is_a_failure(self):
        self.assertNotEqual(0, self.tool("check-scripts").returncode)

    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck")
    def test_every_script_is_looked_at(self):
        self.repository()
        self.write("page.md", "rm $1/*\n")
        self.assertEqual(0, self.tool("check-scripts").returncode)
        bad = "x=$1\nrm $x\n"
        for name, text in (("deep/in/a.sh", "#!/bin/sh\n" + bad), ("b", "#!/usr/bin/env bash\n" + bad),
                           ("c", "#!/bin/bash -e\n" + bad), ("d e", "#!/bin/sh\n" + bad)):
            with self.subTest(name=name):
                path = self.write(name, text)
                ended = self.tool("check-scripts")
                self.assertNotEqual(0, ended.returncode)
                self.assertIn(name, ended.stdout)
                path.unlink()


class CheckIncludes(Tree):
    def faults(self, name, text):
        self.write(name, text)
        ended = self.tool("check-includes")
        return [line for line in ended.stderr.splitlines() if line.startswith(name)]

    def test_directions_hold_whatever_the_brackets(self):
        self.assertEqual([], self.faults("engine/a.c", '#include "base/macros.h"\n#include <sys/uio.h>\n'))
        for form in ('"engine/config.h"', "<engine/config.h>", "<./engine/config.h>",
                     "<../engine/config.h>", "<base/../engine/config.h>"):
            with self.subTest(form=form):
                faults = self.faults("base/a.c", f"int a;\n#  include {form}\n")
                self.assertTrue(faults and all(f.startswith("base/a.c:2: ") for f in faults), faults)

    def test_our_own_headers_are_written_in_quotes(self):
        self.assertEqual(["base/a.c:1: <base/macros.h> is ours: it is written in quotes"],
                         self.faults("base/a.c", "#include <base/macros.h>\n"))

    def test_libraries_have_their_doors(self):
        for folder in ("keyservice", "mta/milter"):
            self.assertEqual([], self.faults(f"{folder}/a.c", "#include <curl/curl.h>\n"))
        for folder in ("base", "mta"):
            self.assertEqual([f"{folder}/a.c:1: libcurl may be used only in keyservice, mta/milter"],
                             self.faults(f"{folder}/a.c", "#include <curl/curl.h>\n"))

    def test_only_paths_from_the_root(self):
        for header in ("macros.h", "../base/macros.h", "base/../engine/config.h"):
            with self.subTest(header=header):
                self.assertEqual(1, len(self.faults("base/a.c", f'#include "{header}"\n')))


class Deps(Folder):
    """tools/deps among programs that only say what they were asked for."""

    def setUp(self):
        super().setUp()
        self.bin = self.folder / "bin"
        for name in ("bash", "env", "sed", "grep", "mktemp", "rm", "tail", "tr", "cat"):
            self.write("bin/.keep", "")
            (self.bin / name).symlink_to(shutil.which(name))
        self.fake("id", "echo 0")
        self.fake("sleep", ":")
        self.fake("npm", ":")
        self.fake("node", "echo v18.20.4")
        self.fake("dpkg-query", f"tr -s ' ()' '\\n' <'{TOOLS}/deps' | sed 's/^/ii  /'")
        self.fake("apt-get", "exit 99")

    def fake(self, name, text):
        path = self.write(f"bin/{name}", f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
        return path

    def deps(self, *arguments):
        return run(TOOLS / "deps", *arguments, env={"PATH": str(self.bin)})

    def apt(self, update="exit 0"):
        """An apt-get that knows no package before its lists were fetched."""
        self.fake("apt-get", f"""
            cd {self.folder}
            for word in "$@"; do
                case $word in
                    update) echo update >>log; : >lists; {update} ;;
                    install) echo install >>log; [ -f lists ]; exit ;;
                esac
            done
            exit 99""")

    def log(self):
        return (self.folder / "log").read_text().split()

    def test_nothing_is_done_when_all_is_there(self):
        self.assertEqual((0, ""), (self.deps().returncode, self.deps().stderr))

    def test_an_old_node_is_named(self):
        for version in ("v16.20.2", "v4.8.2", "junk"):
            with self.subTest(version=version):
                self.fake("node", f"echo {version}")
                ended = self.deps()
                self.assertEqual(69, ended.returncode)
                self.assertIn("18 or later", ended.stderr)
                self.assertEqual(1, len(ended.stderr.splitlines()))

    def test_newer_nodes_do(self):
        for version in ("v18.0.0", "v20.20.2", "v100.1.0"):
            self.fake("node", f"echo {version}")
            self.assertEqual(0, self.deps().returncode, version)

    def test_root_without_sudo_and_without_lists(self):
        self.fake("dpkg-query", "exit 0")
        self.apt()
        ended = self.deps("--build-only")
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertEqual(["install", "update", "install"], self.log())

    def test_no_network_is_named(self):
        self.fake("dpkg-query", "exit 0")
        self.apt(update="rm lists; exit 100")
        ended = self.deps()
        self.assertEqual(75, ended.returncode)
        self.assertIn("apt-get update failed", ended.stderr)

    def test_a_user_without_sudo_is_told(self):
        self.fake("id", "echo 1000")
        self.fake("dpkg-query", "exit 0")
        ended = self.deps()
        self.assertEqual(77, ended.returncode)
        self.assertIn("sudo", ended.stderr)

    def test_a_user_with_sudo_installs_by_it(self):
        self.fake("id", "echo 1000")
        self.fake("dpkg-query", "exit 0")
        self.fake("sudo", 'echo sudo >>"%s/log"; shift; exec "$@"' % self.folder)
        self.apt()
        self.assertEqual(0, self.deps().returncode)
        self.assertEqual(["sudo", "install", "sudo", "update", "sudo", "install"], self.log())


class Soak(Tree):
    """tools/soak among tests that only say figures."""

    CRASH = ("crash: 30 states (4 in recovery; 9 images again, left out), 2 second recoveries, 3 kills, 1 loads, "
             "1 restarts, 8 records stored, 0 refused, 5 moved, 7 commits, 0 violations, 1.5 s")

    def program(self, path, text):
        self.write(path, f"#!/bin/bash\n{text}\n").chmod(0o755)

    def soak(self, *arguments):
        self.write("tools/.keep", "")
        shutil.copy(TOOLS / "soak", self.folder / "tools" / "soak")
        return run(self.folder / "tools" / "soak", *arguments,
                   env={**os.environ, "BULLA_BUILD_DIR": str(self.folder / "build")})

    def figures(self):
        self.program("build/tests/queue/queue_crash_test", f"echo '{self.CRASH}'; env >'{self.folder}/env'")
        self.program("build/tests/queue/queue_fault_test",
                     "echo 'faults: 2 loads with 40 faults, 9 power cuts, 0 violations'")
        self.write("tests/queue/fault_fs.py", 'print("fault_fs: 62 runs, 205 operations failed, 9 stored, 1 wrong")')
        self.write("tests/queue/power_cut.py", 'print("10 cuts, 7 stored, 2 forgotten, 1 failed, 2 lost")')
        self.program("tools/mutate", "echo 'killed   x (0.1 s): 7 states'; echo '9 killed, 0 survived'")

    def test_the_closing_line_sums_up_what_ran(self):
        self.figures()
        ended = self.soak("--short", "faults", "power", "crash", "fault_index", "mutants")
        self.assertEqual(0, ended.returncode, ended.stdout + ended.stderr)
        self.assertEqual(["soak: 30 states of a disk, 245 faults, 9 mutants killed, 0 survived, 10 power cuts; 3 lost",
                          "5 passed, 0 failed"], ended.stdout.splitlines()[-2:])

    def test_the_short_form_leaves_lengths_to_the_tests(self):
        self.figures()
        for arguments, longer in ((["--short"], False), ([], True)):
            self.assertEqual(0, self.soak(*arguments, "crash").returncode)
            self.assertEqual(longer, "BULLA_CRASH_STATES=" in (self.folder / "env").read_text())

    def test_one_that_says_no_figures_has_failed(self):
        self.figures()
        self.program("build/tests/queue/queue_crash_test", "echo 'crash: many states, 0 violations'")
        ended = self.soak("--short", "crash", "power")
        self.assertEqual(1, ended.returncode)
        self.assertIn("FAIL  crash", ended.stdout)
        self.assertEqual(["soak: 10 power cuts; 2 lost", "1 passed, 1 failed"], ended.stdout.splitlines()[-2:])

    def test_one_that_fails_has_failed_whatever_it_says(self):
        self.figures()
        self.program("tools/mutate", "echo '8 killed, 1 survived'; exit 1")
        ended = self.soak("--short", "mutants")
        self.assertEqual(1, ended.returncode)
        self.assertEqual(["soak: 8 mutants killed, 1 survived; 0 lost", "0 passed, 1 failed"],
                         ended.stdout.splitlines()[-2:])


class Readme(unittest.TestCase):
    def test_the_client_is_the_one_that_is_compiled_and_tested(self):
        readme = (ROOT / "README.md").read_text()
        program = (ROOT / "mta/examples/seal_one.c").read_text()
        shown = readme.split("```c\n")[1].split("```\n")[0]
        self.assertEqual(program[program.index("int main("):], shown)
        self.assertLessEqual(len(shown.splitlines()), 25)


if __name__ == "__main__":
    unittest.main(argv=sys.argv, verbosity=2)

"""tools/bench-report: what it makes of a run, and which files it refuses."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/bench-report"
SUITE = ROOT / "tests/tools/data/suite.json"
PLOTS = {"rates", "roofline", "latency", "latency-load", "tail", "size", "workers", "outage"}
SVG = "{http://www.w3.org/2000/svg}"


class BenchReport(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.page = self.folder / "docs/performance.md"
        self.page.parent.mkdir()
        shutil.copy(ROOT / "docs/performance.md", self.page)
        shutil.copy(ROOT / "README.md", self.folder)
        self.run_of = json.loads(SUITE.read_text())

    def report(self, run=None, path=SUITE, search=None):
        if run is not None:
            path = self.folder / "suite.json"
            path.write_text(run if isinstance(run, str) else json.dumps(run))
        environment = {**os.environ, "PATH": search} if search is not None else None
        return subprocess.run([sys.executable, str(TOOL), str(path), "--out", str(self.page.parent)],
                              capture_output=True, text=True, timeout=100, check=False, env=environment)

    def drawn(self):
        return {path.stem for path in (self.folder / "docs/performance").glob("*.svg")}

    def test_tables_are_of_the_run_and_the_prose_stays(self):
        prose = re.compile(r"(begin [a-z-]+ -->\n).*?(<!-- end)", re.S)
        before = self.page.read_text()
        ended = self.report()
        self.assertEqual(0, ended.returncode, ended.stderr)
        after = self.page.read_text()
        self.assertEqual(prose.sub(r"\1\2", before), prose.sub(r"\1\2", after))
        for page in (after, (self.folder / "README.md").read_text()):
            page = " ".join(page.split())
            self.assertIn("commit `0123456789ab`", page)
            self.assertIn("A processor of a test, 4 cores", page)
            self.assertIn("`--short` run: the figures are rough", page)
        for claim in self.run_of["claims"]:
            self.assertIn(claim["name"], after)

    def test_a_claim_that_fails_is_shown_with_a_link_that_leads_somewhere(self):
        self.report()
        page = self.page.read_text()
        anchors = {h.lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", page, re.M)}
        rows = dict.fromkeys(claim["row"] for claim in self.run_of["claims"])
        for claim in self.run_of["claims"]:
            claim.update(holds=False)
        self.assertEqual(0, self.report(self.run_of).returncode)
        links = re.findall(r"^\* Not met: .*\(#(.*)\)\.$", self.page.read_text(), re.M)
        self.assertGreaterEqual(len(links), len(rows))
        self.assertEqual(set(), set(links) - anchors)
        self.assertIn("no \\| browser &lt;here>", self.page.read_text())

    def test_all_held_is_said(self):
        self.run_of["claims"] = [claim for claim in self.run_of["claims"] if claim["holds"]]
        self.assertEqual(0, self.report(self.run_of).returncode)
        self.assertIn("Every claim held in this run.", self.page.read_text())

    @unittest.skipUnless(shutil.which("gnuplot"), "no gnuplot")
    def test_plots_are_small_and_their_text_is_text(self):
        self.assertEqual(0, self.report().returncode)
        self.assertEqual(PLOTS, self.drawn())
        for path in (self.folder / "docs/performance").iterdir():
            with self.subTest(plot=path.name):
                self.assertLess(path.stat().st_size, 64 * 1024)
                root = xml.etree.ElementTree.parse(path).getroot()
                text = " ".join("".join(node.itertext()) for node in root.iter(SVG + "text"))
                self.assertIn(root.find(SVG + "title").text[:12], text)
                self.assertIn("prefers-color-scheme:dark", root.find(f".//{SVG}style").text)
                self.assertIn(f"(performance/{path.name})", self.page.read_text())

    @unittest.skipUnless(shutil.which("gnuplot"), "no gnuplot")
    def test_a_plot_without_figures_goes_and_is_named(self):
        self.assertEqual(0, self.report().returncode)
        del self.run_of["figures"]["workers"][1], self.run_of["figures"]["real"]
        ended = self.report(self.run_of)
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertEqual(PLOTS - {"workers", "outage"}, self.drawn())
        self.assertIn("workers.svg left out", ended.stderr)
        self.assertNotIn("workers.svg", self.page.read_text())

    def test_without_gnuplot_there_are_tables_and_a_line_that_says_so(self):
        ended = self.report(search=str(self.folder))
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertEqual(set(), self.drawn())
        self.assertRegex(ended.stderr, r"\Abench-report: no gnuplot here: .*gnuplot-nox.*\n\Z")
        self.assertIn("| OpenSSL CMS |", self.page.read_text())
        self.assertNotIn(".svg", self.page.read_text())

    def test_what_was_not_measured_is_left_out(self):
        self.run_of["figures"] = {}
        self.assertEqual(0, self.report(self.run_of).returncode)

    def refused(self, status, words, **given):
        before = self.page.read_text()
        ended = self.report(**given)
        self.assertEqual(status, ended.returncode, ended.stderr)
        self.assertRegex(ended.stderr.splitlines()[-1], "^bench-report: .*" + words)
        self.assertNotIn("Traceback", ended.stderr)
        self.assertEqual(before, self.page.read_text())

    def test_broken_files_are_refused_and_change_nothing(self):
        text = SUITE.read_text()
        claim = self.run_of["claims"][0]
        for words, run in (("is no JSON", text[:len(text) // 2]), ("is no JSON", ""),
                           ("not of `bulla-bench suite`", "[]"),
                           ("not of `bulla-bench suite`", {"tool": "bulla-bench"}),
                           ("has format 2", {**self.run_of, "format": 2}),
                           ("lacks machine", {**self.run_of, "claims": []}),
                           ("not whole", {**self.run_of, "claims": [{"name": "half"}]}),
                           ("row 'new'", {**self.run_of, "claims": [{**claim, "row": "new"}]}),
                           ("wrong kind", {**self.run_of, "claims": [{**claim, "target": "much"}]}),
                           ("lacks a figure", {**self.run_of, "figures": {"size": {"text": {"mails": 1}}}})):
            with self.subTest(words=words):
                self.refused(65, words, run=run)
        self.refused(66, "No such file.*bulla-bench suite", path=self.folder / "none.json")

    def test_a_page_without_its_lines_is_refused(self):
        self.page.write_text(self.page.read_text().replace("begin tail", "").replace("begin claims", "begin claim"))
        self.refused(65, "claims")
        self.page.unlink()
        self.assertEqual(66, self.report().returncode)


if __name__ == "__main__":
    unittest.main(argv=sys.argv, verbosity=2)

"""The official conformance suite: runs one leg of it and compares the outcome with baseline.yml.

A leg is one specification revision, for a server or for a client: the scenarios that the suite's own
requirements/REVISION.yaml lists for it, those that it does not score included. A scenario passes when none of its
checks fails or warns. One that fails must stand in the baseline, one that stands there must fail: so the file only
shrinks, and says why for each line.
"""
import collections
import json
import os
import pathlib
import re
import subprocess
import tempfile

import yaml

BASELINE = pathlib.Path(__file__).with_name("baseline.yml")
PACKAGE = "node_modules/@modelcontextprotocol/conformance"
# The suite itself runs nothing here ("pending subscriptions/listen rewrite").
SKIPPED_BY_SUITE = {"tasks-status-notifications"}
TIMED = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")  # a scenario's folder is its name and the time


class Leg:
    def __init__(self, mode, revision, folder):
        self.mode, self.revision, self.folder = mode, revision, pathlib.Path(folder)
        baseline = yaml.safe_load(BASELINE.read_text()) or {}
        self.known = (baseline.get(mode) or {}).get(revision) or {}

    def required(self):
        """The names of all scenarios of this leg."""
        lists = yaml.safe_load((self.folder / PACKAGE / "requirements" / f"{self.revision}.yaml").read_text())
        unscored = [entry["scenario"] for entry in lists.get("not_scored") or [] if entry["leg"] == self.mode]
        return {*lists[self.mode], *unscored}

    def run(self, arguments, timeout=600):
        """Runs the leg; True if its outcome is what the baseline says. Prints what is not."""
        with tempfile.TemporaryDirectory(prefix="gpumcp-conformance-") as out:
            command = [self.folder / "node_modules/.bin/conformance", self.mode, "--requirements", self.revision,
                       "--output-dir", out, *arguments]
            # Its exit status counts failures that the baseline knows: the checks themselves are read instead.
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=timeout, env={**os.environ, "NO_COLOR": "1"})
            results = self.read(out)
        return self.compare(results, done.stdout)

    def read(self, out):
        """Scenario -> its checks."""
        results = {}
        for checks in pathlib.Path(out).rglob("checks.json"):
            name = TIMED.sub("", str(checks.parent.relative_to(out)))
            results[name.removeprefix(f"{self.mode}-")] = json.loads(checks.read_text())
        return results

    def compare(self, results, output):
        required, problems, failing = self.required(), [], 0
        if missing := sorted(required - results.keys()):
            said = "\n    ".join(line[:200] for line in output.splitlines()[-20:])
            problems.append(f"these did not run: {', '.join(missing)}; the suite said at last:\n    {said}")
        for name in sorted(self.known.keys() - required):
            problems.append(f"{name}: in {BASELINE.name}, but no scenario of this leg: take it out")
        for name, checks in sorted(results.items()):
            bad = [check for check in checks if check["status"] in ("FAILURE", "WARNING")]
            if not bad and name not in SKIPPED_BY_SUITE and not any(check["status"] == "SUCCESS" for check in checks):
                problems.append(f"{name}: no check passed: all were skipped")
            failing += bool(bad)
            if bad and name not in self.known:
                problems.append(f"{name}: " + "\n    ".join(describe(check) for check in bad))
            elif not bad and name in self.known:
                problems.append(f"{name}: passes now: take it out of {BASELINE.name}")
        counts = collections.Counter(check["status"] for checks in results.values() for check in checks)
        print(f"{self.mode} {self.revision}: {len(results)} scenarios, {failing} of them fail, "
              f"{counts['SUCCESS']} checks passed")
        for problem in problems:
            print("  " + problem)
        return not problems


def describe(check):
    why = check.get("errorMessage") or (check.get("details") or {}).get("message") or check.get("description", "")
    return f"{check['status'].lower()} {check['id']}: {str(why)[:500]}"

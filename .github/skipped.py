"""Fail if a test was skipped in every job that had it: ``python skipped.py FOLDER`` of JUnit files."""

import sys
from pathlib import Path
from xml.etree import ElementTree

# Tests that need what no job has, by the start of their name; with the reason.
NOWHERE = {
    "test_common_checks_of_scikit_learn": "of arrays on devices that hosted machines lack",
}


def outcomes(folder):
    """For each test, whether each job that had it skipped it."""
    found = {}
    for path in sorted(Path(folder).rglob("*.xml")):
        for case in ElementTree.parse(path).iter("testcase"):
            name = f"{case.get('classname')}::{case.get('name')}".removeprefix("tests.")
            found.setdefault(name, []).append(case.find("skipped") is not None)
    return found


def main(folder):
    """Nothing to complain about: 0; else what there is."""
    found = outcomes(folder)
    if not found:
        return f"There are no results in {folder}."
    skipped = [name for name, skips in found.items() if all(skips)]
    unknown = [
        name for name in skipped if not any(name.split("::")[1].startswith(one) for one in NOWHERE)
    ]
    print(f"{len(found)} tests, {len(skipped)} skipped in every job.")
    return "\n".join(["Skipped in every job:", *unknown]) if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

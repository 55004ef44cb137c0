"""Every way in which people say where their servers are, with the shipped binary against real servers.

The rows are data, in modules beside this one; a module is a function `rows(at)`, whose rows each have a sentence (`what`) and answer from
`try_on(at)` why they do not hold. PROVE_ROWS=WORD: only those whose sentence has the word. The last row is a bare Debian in which all is built
and tested anew (bare_tree.py), which takes half an hour; PROVE_BARE=0 leaves it out.
"""
import os

import bare_tree
import startup_rows
from startup import place

MODULES = [startup_rows]


def run(report, healthd):
    word = os.environ.get("PROVE_ROWS", "")
    with place(healthd) as at:
        for module in MODULES:
            for row in module.rows(at):
                if word not in row.what:
                    continue
                if getattr(row, "names", False) and not at.has_root:
                    report.say(f"left out without root: {row.what}")
                    continue
                try:
                    reason = row.try_on(at)
                except Exception as error:
                    reason = repr(error)
                report.check(row.what, not reason, reason)
    if word in "a bare tree" and os.environ.get("PROVE_BARE") != "0":
        bare_tree.run(report)
    else:
        report.say("left out: a bare tree")

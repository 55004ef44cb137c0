"""Every way in which people say where their servers are, with the shipped binary against real servers.

The rows are data, in modules beside this one; a module is a function `rows(at)`, whose rows each have a sentence (`what`) and answer from
`try_on(at)` why they do not hold. PROVE_ROWS=WORD: only those whose sentence has the word.
"""
import os

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

#!/usr/bin/env python3
"""Scores parse_user_agent in a running server with a list of strings and the correct answers.

    user_agents.py LIST.tsv [CONNECTION]

The list has a header and the columns ua, browser, browser_major, os, os_major and category. In an answer, `|`
separates alternatives, `*` is not scored, and an empty field or alternative means that the string does not contain
the information. Names are compared without case, spaces and punctuation; versions must match as a whole or in
their first number. CONNECTION is a libpq connection string; by default libpq's environment variables apply.

The script prints each miss and the share of rows that are correct in all columns. It exits with 1 if the share is
below 98 %.
"""

import csv
import sys

import psycopg

FIELDS = ["browser", "browser_major", "os", "os_major", "category"]
WANTED = 0.98

QUERY = """
SELECT p.browser, p.browser_version, p.os, p.os_version, p.category
FROM unnest(%s::text[]) WITH ORDINALITY AS list (agent, place), qsessions.parse_user_agent(agent) AS p
ORDER BY place
"""


def main(path, connection=""):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    with psycopg.connect(connection) as server:
        answers = server.execute(QUERY, [[row["ua"] for row in rows]]).fetchall()
    good = 0
    for row, answer in zip(rows, answers, strict=True):
        misses = [
            f"{field} is {told!r}, expected {row[field]!r}"
            for field, told in zip(FIELDS, answer, strict=True)
            if not is_right(field, told or "", row[field])
        ]
        good += not misses
        if misses:
            print(f"{row['ua']}\n    {'; '.join(misses)}")
    share = good / len(rows)
    print(f"{good} of {len(rows)} rows are correct in all columns: {share:.1%} (required: {WANTED:.0%})")
    return share >= WANTED


def is_right(field, told, right):
    if right == "*":
        return True
    told = {plain(told)} | ({plain(told.replace("_", ".").split(".")[0])} if field.endswith("major") else set())
    return any(plain(one) in told for one in right.split("|"))


def plain(text):
    return "".join(letter for letter in text.lower() if letter.isalnum())


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(0 if main(*sys.argv[1:]) else 1)

#!/usr/bin/env python3
"""Scores the names and makers of devices in a running server with a list of User-Agents.

    models.py LIST.tsv [CONNECTION]

The list has a header and the columns ua, name and maker: the name as people call the device, without or with its
maker. `|` separates alternatives. A name is right if the line for a person has it in its first part, or if that part
without the maker is in the name. Names are compared without case, spaces and punctuation. CONNECTION is a libpq
connection string; by default libpq's environment variables apply.

The script prints each miss and the shares of right names and makers. It exits with 1 if fewer than 85 % of the names
or 95 % of the makers are right.
"""

import csv
import sys

import psycopg

WANTED = {"name": 0.85, "maker": 0.95}

QUERY = """
SELECT split_part(qsessions.device(agent), ' / ', 1), coalesce(p.vendor, '')
FROM unnest(%s::text[]) WITH ORDINALITY AS list (agent, place), qsessions.parse_user_agent(agent) AS p
ORDER BY place
"""


def main(path, connection=""):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    with psycopg.connect(connection) as server:
        answers = server.execute(QUERY, [[row["ua"] for row in rows]]).fetchall()
    right = dict.fromkeys(WANTED, 0)
    for row, (line, vendor) in zip(rows, answers, strict=True):
        found = {
            "name": any(is_name(line, vendor, one) for one in row["name"].split("|")),
            "maker": plain(vendor) in {plain(one) for one in row["maker"].split("|")},
        }
        for field, is_right in found.items():
            right[field] += is_right
        if not all(found.values()):
            print(f"{row['ua']}\n    {line!r} by {vendor!r}, expected {row['name']!r} by {row['maker']!r}")
    shares = {field: count / len(rows) for field, count in right.items()}
    for field, share in shares.items():
        print(f"{field}: {right[field]} of {len(rows)} are right: {share:.1%} (required: {WANTED[field]:.0%})")
    return all(share >= WANTED[field] for field, share in shares.items())


def is_name(line, vendor, name):
    line, name = plain(line), plain(name)
    without_maker = line.removeprefix(plain(vendor))
    return name in line or (len(without_maker) > 2 and without_maker in name)


def plain(text):
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter == "+")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(0 if main(*sys.argv[1:]) else 1)

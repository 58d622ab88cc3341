#!/usr/bin/env python3
"""Counts the instructions that the pure session and its codecs take, and compares them with those in instructions.json.

    python3 benches/instructions.py            # the status is 1 if something takes 5 % more than noted there
    python3 benches/instructions.py --write    # note what is taken now

Needs valgrind. Instructions do not depend on how busy a machine is, but on the compiler and the C library: if those are not the
noted ones, only 25 % more is too much. What is counted is the difference between few goes and many, divided by their number.
"""
import argparse
import json
import pathlib
import platform
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTED = ROOT / "benches/instructions.json"
FEW, MANY = 100, 1100
# Percent.
BOUND, BOUND_OF_OTHERS = 5, 25


def build():
    """The program of the benchmark, built from the core alone."""
    command = ["cargo", "bench", "--locked", "--bench", "session", "--no-default-features", "--no-run", "--message-format", "json-render-diagnostics"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    (program,) = (m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "session")
    return program


def count(program, name, goes):
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    run = subprocess.run([*valgrind, program, "--repeat", name, str(goes)], stderr=subprocess.PIPE, text=True)
    found = re.search(r"I +refs: +([\d,]+)", run.stderr)
    if run.returncode or not found:
        sys.exit(f"valgrind counted nothing:\n{run.stderr}")
    return int(found[1].replace(",", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="note what is taken now")
    arguments = parser.parse_args()
    program = build()
    rustc = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    tools = [rustc, platform.machine(), " ".join(platform.libc_ver())]
    lines = subprocess.run([program, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    counted = {}
    for name, commands in (line.split("\t") for line in lines):
        difference = count(program, name, MANY) - count(program, name, FEW)
        counted[name] = round(difference / (MANY - FEW) / int(commands))
    if arguments.write:
        NOTED.write_text(json.dumps({"tools": tools, "instructions": counted}, indent=4) + "\n")
    noted = json.loads(NOTED.read_text())
    same = noted["tools"] == tools
    bound = BOUND if same else BOUND_OF_OTHERS
    if not same:
        print(f"noted with {', '.join(noted['tools'])}; this is {', '.join(tools)}: {bound} % more is tolerated")
    worse = []
    print(f"{'instructions':34} {'noted':>9} {'now':>9} {'change':>8}")
    for name, now in counted.items():
        before = noted["instructions"].get(name)
        change = f"{(now / before - 1) * 100:+.1f} %" if before else "new"
        print(f"{name:34} {before or '-':>9} {now:>9} {change:>8}")
        # Of a handful of instructions one more is no regression.
        if before and now > before * (1 + bound / 100) + 2:
            worse.append(name)
    if gone := noted["instructions"].keys() - counted:
        print(f"noted, and counted no more: {'; '.join(sorted(gone))}. If that is meant: instructions.py --write")
    if gone and not worse:
        sys.exit(1)
    if worse:
        sys.exit(f"more than {bound} % above what is noted: {'; '.join(worse)}. If it is worth it: instructions.py --write")


main()

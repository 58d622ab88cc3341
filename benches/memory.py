#!/usr/bin/env python3
"""Measures the memory of servers in user space: per idle session that is logged in, and while a large directory is listed.

    python3 benches/memory.py

Idle sessions: the difference between one session and many, divided by their number; PSS and anonymous pages of the server and
its children, from /proc/PID/smaps_rollup. Listings: the most that the anonymous pages (RssAnon) grow over what they were
before the first one, asked for again and again while LIST, NLST and MLSD of a directory of 200 000 entries run. The status is 1
if a server other than pyftpdlib grows by 2 MiB or more.
"""
import argparse
import os
import sys
import threading
import time

import common

BOUND_KIB = 2048


def idle(server, count):
    """KiB per session: PSS, anonymous."""
    # What the first session brings in once is not counted per session.
    clients = [common.Client(server)]
    time.sleep(0.5)
    before = server.memory()
    clients += [common.Client(server) for _ in range(count)]
    time.sleep(0.5)
    after = server.memory()
    for client in clients:
        client.command("NOOP", "200")
        client.close()
    return tuple((b - a) / count for a, b in zip(before, after))


def listing(server, client, verb, entries):
    """The most KiB of anonymous pages, the seconds that it takes, and how often the pages were counted."""
    most, samples = server.anonymous_now(), 0
    ended = threading.Event()

    def watch():
        nonlocal most, samples
        while not ended.is_set():
            most = max(most, server.anonymous_now())
            samples += 1
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        buffer, lines = bytearray(1 << 18), 0
        with client.transfer(f"{verb} many") as data:
            while count := data.recv_into(buffer):
                lines += buffer.count(b"\n", 0, count)
        client.reply("226")
    finally:
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
    most = max(most, server.anonymous_now())
    # MLSD may show the directory itself and its parent.
    if not entries <= lines <= entries + 2:
        raise RuntimeError(f"{server.name} listed {lines} of {entries} entries")
    return most, seconds, samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--entries", type=int, default=200_000)
    arguments = parser.parse_args()
    commands = common.commands(arguments)
    lines, too_much = [], False

    with common.Folder() as folder:
        many = folder.path / "home/many"
        many.mkdir()
        for number in range(arguments.entries):
            os.close(os.open(many / f"file-{number:06}.dat", os.O_CREAT | os.O_WRONLY))
        for name, command in commands.items():
            server = common.Server(name, command, folder, arguments.set if name != "pyftpdlib" else ())
            try:
                pss, anonymous = idle(server, arguments.sessions)
                lines.append(f"{name:12} idle session: {pss:7.1f} KiB PSS, {anonymous:7.1f} KiB anonymous")
                client = common.Client(server)
                before = server.anonymous_now()
                for verb in ("LIST", "NLST", "MLSD"):
                    most, seconds, samples = listing(server, client, verb, arguments.entries)
                    growth = most - before
                    lines.append(f"{name:12} {verb}: grows by {growth:7} KiB in {seconds:.2f} s ({samples} samples)")
                    too_much |= name != "pyftpdlib" and growth >= BOUND_KIB
                client.close()
            finally:
                server.stop()

    print(common.command_line())
    print(f"{arguments.sessions} idle sessions; directory of {arguments.entries} entries; bound for growth: {BOUND_KIB} KiB")
    print("\n".join(lines))
    if too_much:
        sys.exit("a listing needs more memory than the bound")


main()

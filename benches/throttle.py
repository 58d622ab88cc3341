#!/usr/bin/env python3
"""Measures how exactly read_limit and write_limit are kept.

    python3 benches/throttle.py

For each engine: a download and an upload in clear text and under TLS, limited for the connection by [server], and two at once that
are limited for their user by [[user]]. Every 5 ms the octets that came through are counted: at the client for downloads, in the
file for uploads. "rate" is what came through in --seconds as a share of what may; "ahead" is the most that the octets were ever ahead of
the rate, counted from any moment before, in seconds' worth. The status is 1 if a rate is off by 2 % or more, or more than a quarter of
a second's worth was ahead (and what one look at the clock may miss).
"""
import argparse
import re
import socket
import ssl
import sys
import threading
import time

import common

RATE = 8 << 20
LOOK = 0.005


class Session(common.Client):
    """A session whose data connections may be under TLS."""

    def __init__(self, server, secure):
        self.context = None
        super().__init__(server)
        if secure:
            self.command("AUTH TLS", "234")
            self.context = ssl.create_default_context()
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE
            self.replies.close()
            self.socket = self.context.wrap_socket(self.socket)
            self.replies = self.socket.makefile("rb")
            for command in ["USER " + common.USER, "PASS " + common.PASSWORD, "PBSZ 0", "PROT P", "TYPE I"]:
                self.command(command, "200", "230", "331")

    def transfer(self, command):
        port = int(re.search(r"\|\|\|(\d+)\|", self.command("EPSV", "229"))[1])
        data = socket.create_connection((self.socket.getpeername()[0], port), common.TIMEOUT)
        self.command(command, "150")
        return self.context.wrap_socket(data, session=self.socket.session) if self.context else data


class Count:
    """Octets that came through, and when."""

    def __init__(self):
        self.octets = 0
        self.ended = False


def download(session, count):
    data, buffer = session.transfer("RETR file"), bytearray(1 << 16)
    while not count.ended and (octets := data.recv_into(buffer)):
        count.octets += octets
    data.close()


def upload(session, count, name):
    data, piece = session.transfer("STOR " + name), bytes(1 << 16)
    data.settimeout(0.05)
    while not count.ended:
        try:
            data.send(piece)
        except TimeoutError:
            pass
    data.close()


def measure(server, secure, store, sessions, seconds):
    """The rate as a share of the limit, and the most that was ever ahead, in seconds' worth."""
    sessions = [Session(server, secure) for _ in range(sessions)]
    counts = [Count() for _ in sessions]
    files = [server.home / f"upload{number}" for number in range(len(sessions))]
    works = [
        threading.Thread(target=upload, args=(session, count, file.name)) if store else threading.Thread(target=download, args=(session, count))
        for session, count, file in zip(sessions, counts, files)
    ]

    def through():
        if not store:
            return sum(count.octets for count in counts)
        return sum(file.stat().st_size if file.exists() else 0 for file in files)

    for work in works:
        work.start()
    while not through():
        time.sleep(LOOK)
    start, first = time.perf_counter(), through()
    # How far what came through is ahead of the rate: the most of it less the least of it before.
    least, ahead, now = 0.0, 0.0, start
    while now - start < seconds:
        time.sleep(LOOK)
        # The clock is read after the octets, so that what comes between is not said to be ahead.
        octets = through()
        now = time.perf_counter()
        lead = (octets - first) / RATE - (now - start)
        least = min(least, lead)
        ahead = max(ahead, lead - least)
    share = (octets - first) / RATE / (now - start)
    for count in counts:
        count.ended = True
    for work, session in zip(works, sessions):
        work.join()
        session.close()
    for file in files:
        file.unlink(missing_ok=True)
    return share, ahead


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="tokio,smol,threads,processes")
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    inexact, program = False, common.built()
    print(f"{common.command_line()}\n{'engine':10} {'what':56} {'rate':>8} {'ahead':>8}")
    for engine in arguments.engines.split(","):
        for limited, sessions in [("its connection", 1), ("its user, in two connections", 2)]:
            with common.Folder() as folder:
                with open(folder.path / "home/file", "wb") as file:
                    file.truncate(1 << 30)
                limits = [f"read_limit = {RATE}", f"write_limit = {RATE}"]
                server = common.Server(
                    engine,
                    [program, "--tls"],
                    folder,
                    [f'engine = "{engine}"', *(limits if sessions == 1 else [])],
                    [] if sessions == 1 else limits,
                )
                try:
                    for secure in [False, True]:
                        for store in [False, True]:
                            share, ahead = measure(server, secure, store, sessions, arguments.seconds)
                            off = abs(share - 1) >= 0.02 or ahead > 0.25 + LOOK
                            inexact |= off
                            what = f"{'STOR' if store else 'RETR'}{' under TLS' if secure else ''}, limited for {limited}"
                            print(f"{engine:10} {what:56} {share:8.1%} {ahead:6.3f} s{'  !' if off else ''}", flush=True)
                finally:
                    server.stop()
    sys.exit(inexact)


if __name__ == "__main__":
    main()

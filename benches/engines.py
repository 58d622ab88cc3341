#!/usr/bin/env python3
"""Measures each engine of Wharf, and pyftpdlib beside them: sessions, memory of an idle one, latency, logins and octets a second.

    python3 benches/engines.py

For each engine a server of its own is started, on the same folder in memory, and asked in turn for

- NOOP, one after the other by one session: the median time of a reply, while there is no other session;
- sessions that log in and then do nothing: how many there are, and what each takes of user space (PSS and anonymous pages of
  the server and its children, from /proc/PID/smaps_rollup);
- NOOP again, beside all those;
- logins: connect, USER, PASS, QUIT, by several clients at once; and what the server uses of processors for each;
- RETR and STOR of one large file, octets a second.

All but the memory and the number of sessions varies with what else the machine does: rounds are repeated, and the best one of
each counts. The status is 1 if an idle session of an asynchronous engine takes more than 4 KiB.
"""
import argparse
import os
import socket
import statistics
import subprocess
import sys
import time

import common

MIB = 1 << 20
# Names, the settings that make them, how many idle sessions are asked of them at most, and which share of the logins.
ENGINES = {
    "tokio, 1 thread": (['engine="tokio"', "workers=1"], None, 1),
    "tokio": (['engine="tokio"'], None, 1),
    "smol, 1 thread": (['engine="smol"', "workers=1"], None, 1),
    "smol": (['engine="smol"'], None, 1),
    "threads": (['engine="threads"'], None, 1),
    # Each session is a process: many of them tell no more than some do, and take minutes.
    "processes": (['engine="processes"'], 500, 10),
}
# A session of these is a task: it may take so many KiB.
TASKS, BOUND_KIB = ("tokio", "smol"), 4
LOGIN = f"USER {common.USER}\r\nPASS {common.PASSWORD}\r\n".encode()


class Session:
    """A control connection that costs the client as little as can be."""

    def __init__(self, server, commands, replies):
        self.socket = socket.create_connection((server.host, server.port), common.TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The greeting first: some servers throw away what comes before it.
        greeting = self.take(1)
        if not greeting.startswith(b"220"):
            raise RuntimeError(f"no greeting, but {greeting!r}")
        self.socket.sendall(commands)
        self.replies = self.take(replies)

    def take(self, count):
        """Octets with so many replies of one line each."""
        octets = b""
        while octets.count(b"\r\n") < count:
            more = self.socket.recv(4096)
            if not more:
                raise RuntimeError(f"the server closed the connection behind {octets!r}")
            octets += more
        return octets

    def close(self):
        self.socket.close()


def logged_in(server):
    session = Session(server, LOGIN, 2)
    if b"\r\n230" not in session.replies:
        raise RuntimeError(f"no login, but {session.replies!r}")
    return session


def latency(server, count):
    """The median of the microseconds that a NOOP takes, in the best of some rounds."""
    session, medians = logged_in(server), []
    for _ in range(5):
        times = []
        for _ in range(count // 5):
            start = time.perf_counter_ns()
            session.socket.sendall(b"NOOP\r\n")
            session.socket.recv(4096)
            times.append(time.perf_counter_ns() - start)
        medians.append(statistics.median(times) / 1000)
    session.close()
    return min(medians)


def idle(server, count):
    """Sessions that log in and do nothing, as many as there can be."""
    sessions = []
    try:
        for _ in range(count):
            sessions.append(logged_in(server))
    except (OSError, RuntimeError) as error:
        print(f"{server.name}: no more than {len(sessions)} idle sessions: {error}", file=sys.stderr)
    # A server may look at a connection once more after its last command.
    time.sleep(2)
    return sessions


def logins(server, count, clients):
    """Logins a second in the best of some rounds, and microseconds of processor time of each."""
    rates, before = [], server.cpu()
    for _ in range(3):
        start = time.perf_counter()
        pids = []
        for _ in range(clients):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    commands = LOGIN + b"QUIT\r\n"
                    for _ in range(count // clients):
                        session = Session(server, commands, 3)
                        if b"\r\n230" not in session.replies:
                            raise RuntimeError(f"no login, but {session.replies!r}")
                        session.close()
                    status = 0
                except (OSError, RuntimeError) as error:
                    print(error, file=sys.stderr)
                finally:
                    os._exit(status)
            pids.append(pid)
        if any(os.waitpid(pid, 0)[1] for pid in pids):
            raise RuntimeError(f"{server.name}: a login failed")
        rates.append(count // clients * clients / (time.perf_counter() - start))
    return max(rates), (server.cpu() - before) / (3 * (count // clients * clients)) * 1e6


def transfers(server, size, rounds):
    """Octets a second of RETR and STOR, in the best of some rounds."""
    client, buffer, best = common.Client(server), bytearray(4 * MIB), {"RETR": 0, "STOR": 0}
    for _ in range(rounds + 1):
        data = client.transfer("RETR file")
        start, received = time.perf_counter(), 0
        # The kernel throws away what is received.
        while count := data.recv_into(buffer, 0, socket.MSG_TRUNC):
            received += count
        # There are servers that say nothing more before the client has closed.
        data.close()
        client.reply("226")
        best["RETR"] = max(best["RETR"], size / (time.perf_counter() - start))
        with open(server.home / "file", "rb") as file:
            data = client.transfer("STOR upload")
            start = time.perf_counter()
            data.sendfile(file)
            data.close()
            client.reply("226")
            best["STOR"] = max(best["STOR"], size / (time.perf_counter() - start))
        if received != size or os.stat(server.home / "upload").st_size != size:
            raise RuntimeError(f"{server.name} moved fewer octets than the file has")
    client.close()
    (server.home / "upload").unlink()
    return best["RETR"], best["STOR"]


def measure(server, arguments, most, share):
    figures = {"alone": latency(server, arguments.commands)}
    # What the first session brings in once is not counted per session.
    first = logged_in(server)
    time.sleep(1)
    before = server.memory()
    sessions = idle(server, min(arguments.sessions, most or arguments.sessions))
    after = server.memory()
    figures["sessions"] = len(sessions) + 1
    figures["pss"], figures["anonymous"] = ((b - a) / len(sessions) for a, b in zip(before, after))
    figures["beside"] = latency(server, arguments.commands)
    figures["slower"] = figures["beside"] / figures["alone"]
    for session in (first, *sessions):
        session.close()
    time.sleep(2)
    figures["logins"], figures["login_cpu"] = logins(server, arguments.logins // share, arguments.clients)
    figures["retr"], figures["stor"] = transfers(server, arguments.size * MIB, arguments.rounds)
    return figures


ROWS = (
    ("idle sessions", "sessions", "{:.0f}", 1, None),
    ("PSS of one, KiB", "pss", "{:.2f}", 1, "less"),
    ("anonymous pages of one, KiB", "anonymous", "{:.2f}", 1, "less"),
    ("NOOP alone, us", "alone", "{:.1f}", 1, "less"),
    ("NOOP beside the idle ones, us", "beside", "{:.1f}", 1, "less"),
    ("beside them / alone", "slower", "{:.2f}", 1, None),
    ("logins a second", "logins", "{:.0f}", 1, "more"),
    ("processor time of a login, us", "login_cpu", "{:.0f}", 1, "less"),
    ("RETR, MB/s", "retr", "{:.0f}", 1e-6, "more"),
    ("STOR, MB/s", "stor", "{:.0f}", 1e-6, "more"),
)


def table(results):
    """The figures, and behind each how often better than the last server's it is."""
    names = list(results)
    lines = [["", *names]]
    for title, key, form, scale, better in ROWS:
        line = [title]
        for name in names:
            figure, base = results[name][key], results[names[-1]][key]
            text = form.format(figure * scale)
            if better and len(names) > 1 and min(figure, base) > 0:
                ratio = figure / base if better == "more" else base / figure
                text += f" ({ratio:.1f} x)"
            line.append(text)
        lines.append(line)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only this one (default: all)")
    parser.add_argument("--sessions", type=int, default=10_000, help="idle sessions (default: 10000; of processes 500 at most)")
    parser.add_argument("--commands", type=int, default=20_000, help="NOOPs (default: 20000)")
    parser.add_argument("--logins", type=int, default=4000, help="logins in a round (default: 4000; of processes a tenth)")
    parser.add_argument("--clients", type=int, default=4, help="clients who log in at once (default: 4)")
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="size of the file (default: 512)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of transfers, after one to warm up")
    arguments = parser.parse_args()
    peers = common.commands(arguments)
    peer = peers.pop("pyftpdlib", None)
    servers, tasks = [], set()
    for program, command in peers.items():
        for engine, (settings, most, share) in ENGINES.items():
            if not arguments.engine or engine in arguments.engine:
                name = engine if len(peers) == 1 else f"{program} {engine}"
                servers.append((name, command, [*settings, *arguments.set], most, share))
                if engine.startswith(TASKS):
                    tasks.add(name)
    if peer:
        servers.append(("pyftpdlib", peer, [], None, 1))
    results = {}
    with common.Folder() as folder:
        with open(folder.path / "home/file", "wb") as file:
            for _ in range(arguments.size):
                file.write(os.urandom(MIB))
        for name, command, settings, most, share in servers:
            try:
                server = common.Server(name, command, folder, settings)
            except RuntimeError as error:
                print(f"{name}: skipped: {error}", file=sys.stderr)
                continue
            try:
                results[name] = measure(server, arguments, most, share)
            finally:
                server.stop()
    print(common.command_line())
    kernel = subprocess.run(["uname", "-sr"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{kernel}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; in brackets: times better than {list(results)[-1]}")
    print(table(results))
    heavy = [name for name in results if name in tasks and results[name]["anonymous"] > BOUND_KIB]
    if heavy:
        sys.exit(f"an idle session takes more than {BOUND_KIB} KiB: {', '.join(heavy)}")


main()

#!/usr/bin/env python3
"""Measures how long a NOOP takes: on an idle server, beside downloads at full speed, and beside idle sessions.

    python3 benches/latency.py

prints the median and the 99th percentile for each engine of Wharf and for each peer that can be had (as servers.py). On a machine
whose processors are all taken anything is late, the client of this measurement as well: so NOOP is also measured, beside the same
downloads, on a second server of the same kind that has nothing else to do (`apart`). What the loaded server takes more than that
is its own doing. A client asks, waits for the reply, and asks again a millisecond later.
"""
import argparse
import os
import signal
import socket
import sys
import time

import common

MIB = 1 << 20
PAUSE = 0.001


def ask(server, count):
    """Microseconds of each NOOP, sorted."""
    client, times = common.Client(server), []
    for _ in range(count):
        time.sleep(PAUSE)
        start = time.perf_counter_ns()
        client.socket.sendall(b"NOOP\r\n")
        client.socket.recv(4096)
        times.append((time.perf_counter_ns() - start) / 1000)
    client.close()
    return sorted(times)


def download(server):
    """Downloads again and again, until it is killed. The kernel throws away what is received."""
    client, buffer = common.Client(server), bytearray(4 * MIB)
    while True:
        with client.transfer("RETR file") as data:
            while data.recv_into(buffer, 0, socket.MSG_TRUNC):
                pass
        client.reply("226")


class Downloads:
    """So many downloads from a server, each by a process of its own."""

    def __init__(self, server, count):
        self.pids = []
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                try:
                    download(server)
                finally:
                    os._exit(1)
            self.pids.append(pid)

    def __enter__(self):
        time.sleep(1)
        return self

    def __exit__(self, *_):
        ended = [pid for pid in self.pids if os.waitpid(pid, os.WNOHANG)[0]]
        for pid in set(self.pids) - set(ended):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if ended:
            raise RuntimeError(f"{len(ended)} downloads broke off")


def measure(server, other, arguments):
    figures = {"idle": ask(server, arguments.commands)}
    with Downloads(server, arguments.downloads):
        for _ in range(arguments.rounds):
            figures.setdefault("beside", []).extend(ask(server, arguments.commands // arguments.rounds))
            figures.setdefault("apart", []).extend(ask(other, arguments.commands // arguments.rounds))
    if arguments.sessions:
        sessions = []
        try:
            sessions.extend(common.Client(server) for _ in range(arguments.sessions))
        except (OSError, RuntimeError) as error:
            print(f"{server.name}: no more than {len(sessions)} idle sessions: {error}", file=sys.stderr)
        time.sleep(2)
        figures["sessions"] = ask(server, arguments.commands)
        for session in sessions:
            session.close()
    return {case: sorted(times) for case, times in figures.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--engines", default="tokio,smol,threads", metavar="A,B", help="engines of Wharf")
    parser.add_argument("--commands", type=int, default=3000, help="NOOPs in each case (default: 3000)")
    parser.add_argument("--downloads", type=int, default=16, help="downloads at once (default: 16)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of the two servers beside the downloads (default: 5)")
    parser.add_argument("--sessions", type=int, default=0, help="idle sessions; 0: leave that case out (default)")
    parser.add_argument("--size", type=int, default=64, metavar="MIB", help="size of the file (default: 64)")
    arguments = parser.parse_args()
    peers = common.commands(arguments)
    servers = []
    for name, command in peers.items():
        if name == "pyftpdlib":
            servers.append((name, command, ()))
        else:
            servers += [(f"{name} {engine}", command, [f'engine="{engine}"', *arguments.set]) for engine in arguments.engines.split(",")]
    if not arguments.no_peer:
        servers += [(name, command, ()) for name, command in common.peers().items()]
    print(common.command_line())
    print(f"{os.cpu_count()} cores; microseconds that a NOOP takes: median, 99th percentile, most")
    print("| server | case | p50 | p99 | most |\n|---|---|---:|---:|---:|")
    with common.Folder() as folder:
        # Some servers run as another user.
        folder.path.chmod(0o755)
        with open(folder.path / "home/file", "wb") as file:
            for _ in range(arguments.size):
                file.write(os.urandom(MIB))
        for name, command, settings in servers:
            plain = name.replace(" ", "-").replace("/", "-")
            running = []
            try:
                for suffix in ("", "-other"):
                    running.append(common.Server(plain + suffix, command, folder, settings))
                for case, times in measure(*running, arguments).items():
                    p50, p99 = (times[int(len(times) * share)] for share in (0.5, 0.99))
                    print(f"| {name} | {case} | {p50:.0f} | {p99:.0f} | {times[-1]:.0f} |", flush=True)
            finally:
                for server in running:
                    server.stop()


main()

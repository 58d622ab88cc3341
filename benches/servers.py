#!/usr/bin/env python3
"""Compares servers over the loopback: logins, commands, small files, listings, and one large file.

    python3 benches/servers.py

prints a table with a column for each engine of Wharf and for each peer that can be had: pyftpdlib from PyPI, libunftp from
crates.io, and where this is root on Debian vsftpd, ProFTPD and Pure-FTPd, which are unpacked into target/ and not installed.
`--workloads` and `--engines` take less. Wharf is built first. Each server runs on the same folder in memory, where this is
root in a network of its own. After one round to warm up (where the octets of the large file are compared on both sides) come
rounds in turn, A B, B A, A B, ..., and the medians are shown. The clients cost little: `load.rs`, and for the large file one
that lets the kernel throw away what it receives (MSG_TRUNC), and sends by sendfile.
"""
import argparse
import datetime
import hashlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time

import common

MIB = 1 << 20
ENGINES = ("tokio", "smol", "threads", "processes")
# What is shown, its unit, and for the load client: work, sessions at once.
WORKLOADS = {
    "login": ("logins a second, one after the other", "login", 1),
    "login16": ("logins a second, 16 at once", "login", 16),
    "noop": ("NOOP a second", "NOOP", 1),
    "noop16": ("NOOP a second, 16 sessions", "NOOP", 16),
    "noop100": ("NOOP a second, 100 in a write", "100 x NOOP", 1),
    "size": ("SIZE a second", "SIZE file", 1),
    "small-retr": ("RETR of 1 KiB a second", "RETR small", 1),
    "small-retr16": ("RETR of 1 KiB a second, 16 sessions", "RETR small", 16),
    "small-stor": ("STOR of 1 KiB a second", "STOR upload-%d", 1),
    "list": ("LISTs a second, of 10 000 entries", "LIST many", 1),
    "nlst": ("NLSTs a second, of 10 000 entries", "NLST many", 1),
    "mlsd": ("MLSDs a second, of 10 000 entries", "MLSD many", 1),
    "retr": ("RETR of one large file, MB/s", None, 1),
    "stor": ("STOR of one large file, MB/s", None, 1),
}
ENTRIES = 10_000


def load_client():
    """The load client, built if need be."""
    command = ["cargo", "bench", "--locked", "--bench", "load", "--no-default-features", "--no-run", "--message-format", "json-render-diagnostics"]
    output = subprocess.run(command, cwd=common.ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    (program,) = (m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "load")
    return program


def loaded(program, server, work, sessions, seconds):
    """How often a second the work was done; `None` if the server cannot do it."""
    command = [program, f"{server.host}:{server.port}", work, str(sessions), str(seconds)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if run.returncode:
        print(f"{server.name}: {run.stderr.strip()}", file=sys.stderr)
        return None
    done, seconds = run.stdout.split()
    return int(done) / float(seconds)


def retrieve(server, client, size, digest=None):
    """Seconds that RETR takes; with `digest` the octets are looked at instead of thrown away."""
    data = client.transfer("RETR file")
    buffer = bytearray(4 * MIB)
    start = time.perf_counter()
    received = 0
    while count := data.recv_into(buffer, 0, 0 if digest else socket.MSG_TRUNC):
        received += count
        if digest:
            digest.update(memoryview(buffer)[:count])
    # There are servers that say nothing more before the client has closed.
    data.close()
    client.reply("226")
    seconds = time.perf_counter() - start
    if received != size:
        raise RuntimeError(f"{server.name} sent {received} octets of {size}")
    return seconds


def store(server, client, size):
    """Seconds that STOR takes."""
    with open(server.home / "file", "rb") as file:
        data = client.transfer("STOR upload")
        start = time.perf_counter()
        data.sendfile(file)
        data.close()
        client.reply("226")
        seconds = time.perf_counter() - start
    stored = os.stat(server.home / "upload").st_size
    if stored != size:
        raise RuntimeError(f"{server.name} stored {stored} octets of {size}")
    return seconds


def hash_of(path):
    digest = hashlib.blake2b()
    with open(path, "rb") as file:
        while chunk := file.read(4 * MIB):
            digest.update(chunk)
    return digest.digest()


def warm_up(server, size, expected):
    client = common.Client(server)
    digest = hashlib.blake2b()
    retrieve(server, client, size, digest)
    if digest.digest() != expected:
        raise RuntimeError(f"{server.name} sent other octets than the file's")
    store(server, client, size)
    if hash_of(server.home / "upload") != expected:
        raise RuntimeError(f"{server.name} stored other octets than it was sent")
    (server.home / "upload").unlink()
    client.close()


def machine():
    model = next((l.split(": ")[1] for l in open("/proc/cpuinfo").read().splitlines() if l.startswith("model name")), "")
    return f"{os.cpu_count()} x {model or platform.machine()}, Linux {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="size of the large file (default: 1024)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="how long each of the other runs takes (default: 1)")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), metavar="A,B", help=f"of: {' '.join(WORKLOADS)}")
    parser.add_argument("--engines", default="tokio,smol,threads", metavar="A,B", help="engines of Wharf")
    arguments = parser.parse_args()
    workloads = arguments.workloads.split(",")
    if unknown := set(workloads) - set(WORKLOADS):
        sys.exit(f"no such workload: {' '.join(unknown)}")
    if unknown := set(arguments.engines.split(",")) - set(ENGINES):
        sys.exit(f"no such engine: {' '.join(unknown)}")
    size = arguments.size * MIB
    bulk = {"retr", "stor"} & set(workloads)
    commands = {}
    for name, command in common.commands(arguments).items():
        if name == "pyftpdlib":
            commands[name] = (command, ())
        else:
            for engine in arguments.engines.split(","):
                commands[f"{name} {engine}"] = (command, [f'engine="{engine}"', *arguments.set])
    if not arguments.no_peer:
        commands |= {name: (command, ()) for name, command in common.peers().items()}
    program = load_client()
    versions = common.versions(arguments, commands)
    common.own_network()

    with common.Folder() as folder:
        home = folder.path / "home"
        folder.path.chmod(0o755)
        block = os.urandom(MIB)
        with open(home / "file", "wb") as file:
            for number in range(arguments.size if bulk else 1):
                file.write(number.to_bytes(8, "big") + block[8:])
        (home / "small").write_bytes(os.urandom(1024))
        (home / "many").mkdir()
        for number in range(ENTRIES):
            (home / f"many/file-{number:06}.dat").touch()
        expected = hash_of(home / "file")
        servers = []
        try:
            for name, (command, settings) in commands.items():
                try:
                    servers.append(common.Server(name, command, folder, settings))
                    if bulk:
                        warm_up(servers[-1], size, expected)
                except RuntimeError as error:
                    print(f"{name} is left out: {error}", file=sys.stderr)
            # Where some server runs as another user it must be able to store.
            home.chmod(0o777)
            figures = {(server.name, workload): [] for server in servers for workload in workloads}
            cpu = {key: 0.0 for key in figures}
            for turn in range(arguments.rounds):
                for workload in workloads:
                    _, work, sessions = WORKLOADS[workload]
                    for server in servers if turn % 2 == 0 else servers[::-1]:
                        before = server.cpu()
                        if work:
                            if turn == 0:
                                loaded(program, server, work, sessions, arguments.seconds / 10)
                            figure = loaded(program, server, work, sessions, arguments.seconds)
                        else:
                            client = common.Client(server)
                            figure = size / (retrieve if workload == "retr" else store)(server, client, size) / 1e6
                            client.close()
                        cpu[server.name, workload] += server.cpu() - before
                        figures[server.name, workload].append(figure)
                        for upload in home.glob("upload*"):
                            upload.unlink()
        finally:
            for server in servers:
                server.stop()

    print(common.command_line())
    print(f"{datetime.date.today()}, {machine()}; {', '.join(versions)}")
    print(f"medians of {arguments.rounds} rounds; the large file has {arguments.size} MiB\n")
    print("|", " | ".join(["", *(server.name for server in servers)]), "|")
    print("|---" * (len(servers) + 1) + "|")
    for workload in workloads:
        row = [WORKLOADS[workload][0]]
        for server in servers:
            rates = figures[server.name, workload]
            median = None if None in rates else statistics.median(rates)
            row.append("-" if median is None else f"{median:.0f}" if median >= 100 else f"{median:.1f}")
        print("|", " | ".join(row), "|")
    for workload in sorted(bulk):
        row = [f"{workload.upper()}, s of CPU time per GiB"]
        row += [f"{cpu[server.name, workload] / arguments.rounds / (size / (1 << 30)):.2f}" for server in servers]
        print("|", " | ".join(row), "|")


main()

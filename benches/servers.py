#!/usr/bin/env python3
"""Compares how fast servers move one large file over the loopback: RETR and STOR, octets a second.

    cargo build --release && python3 benches/servers.py

Each server runs on the same folder in memory. After one round to warm up (whose octets are compared on both sides) come
rounds in turn, A B, B A, A B, ..., and the medians are shown. The client costs little: it lets the kernel throw away what it
receives (MSG_TRUNC), and sends by sendfile.
"""
import argparse
import hashlib
import os
import socket
import statistics
import time

import common

MIB = 1 << 20


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
    client.reply("226")
    seconds = time.perf_counter() - start
    data.close()
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="size of the file (default: 1024)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    size = arguments.size * MIB
    commands = common.commands(arguments)

    with common.Folder() as folder:
        block = os.urandom(MIB)
        with open(folder.path / "home/file", "wb") as file:
            for number in range(arguments.size):
                file.write(number.to_bytes(8, "big") + block[8:])
        expected = hash_of(folder.path / "home/file")
        servers = []
        try:
            for name, command in commands.items():
                servers.append(common.Server(name, command, folder, arguments.set if name != "pyftpdlib" else ()))
            for server in servers:
                warm_up(server, size, expected)
            figures = {(server.name, verb): [] for server in servers for verb in ("RETR", "STOR")}
            cpu = {key: 0.0 for key in figures}
            for turn in range(arguments.rounds):
                for verb, measure in (("RETR", retrieve), ("STOR", store)):
                    for server in servers if turn % 2 == 0 else servers[::-1]:
                        client = common.Client(server)
                        before = server.cpu()
                        seconds = measure(server, client, size)
                        cpu[server.name, verb] += server.cpu() - before
                        figures[server.name, verb].append(size / seconds)
                        client.close()
                        if verb == "STOR":
                            (server.home / "upload").unlink()
        finally:
            for server in servers:
                server.stop()

    print(common.command_line())
    print(f"{arguments.size} MiB, {arguments.rounds} rounds, medians of MB/s (10^6 octets a second); CPU of the server per GiB")
    for verb in ("RETR", "STOR"):
        for server in servers:
            rates = figures[server.name, verb]
            median = statistics.median(rates)
            base = statistics.median(figures[servers[-1].name, verb])
            seconds = cpu[server.name, verb] / arguments.rounds / (size / (1 << 30))
            print(
                f"{verb} {server.name:12} {median / 1e6:8.0f} MB/s  ({min(rates) / 1e6:.0f} to {max(rates) / 1e6:.0f})"
                f"  {seconds:.2f} s/GiB  {median / base:.2f} x {servers[-1].name}"
            )


main()

"""What the comparisons of whole servers share: servers that are started and stopped, a small client, and figures of /proc.

A server is any program that takes `--config FILE`, a TOML file with the keys of the daemon `wharf`, and prints
`listening on HOST:PORT`. `pyftpdlib_server.py` makes pyftpdlib such a program.
"""
import ctypes
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib

# unshare(2): the network.
CLONE_NEWNET = 0x40000000
ROOT = pathlib.Path(__file__).resolve().parent.parent
USER, PASSWORD = "user", "12345"
TIMEOUT = 60
WHARF = ROOT / "target/release/wharf"
LIBUNFTP = ROOT / "target/bench-libunftp"


def pyftpdlib():
    """The command of pyftpdlib's server; it is installed from PyPI into target/ if it is not there yet."""
    venv = ROOT / "target/bench-venv"
    python = venv / "bin/python"
    if subprocess.run([python, "-c", "import pyftpdlib"], stderr=subprocess.DEVNULL).returncode if python.exists() else True:
        print("installing pyftpdlib into", venv.relative_to(ROOT), file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pyftpdlib"], check=True)
    return [str(python), str(ROOT / "benches/pyftpdlib_server.py")]


def debian_peers():
    """Names and commands of the servers that Debian has: unpacked into target/, since they exclude each other."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print("vsftpd, proftpd and pure-ftpd are left out: they need root, and apt-get", file=sys.stderr)
        return {}
    unpacked = ROOT / "target/bench-peers"
    found = {}
    packages = {"vsftpd": ["vsftpd"], "proftpd": ["proftpd-core"], "pure-ftpd": ["pure-ftpd", "pure-ftpd-common"]}
    for name, packages in packages.items():
        try:
            version = unpacked / f"{name}.version"
            if not version.exists():
                with tempfile.TemporaryDirectory() as folder:
                    needed = packages + missing_libraries(packages)
                    subprocess.run(["apt-get", "download", "-qq", *needed], cwd=folder, check=True, stdout=subprocess.DEVNULL)
                    files = list(pathlib.Path(folder).glob("*.deb"))
                    for file in files:
                        subprocess.run(["dpkg-deb", "-x", file, unpacked], check=True)
                    (own,) = (file for file in files if file.name.startswith(packages[0] + "_"))
                    version.write_text(output("dpkg-deb", "-f", own, "Version"))
            found[name] = [sys.executable, str(ROOT / "benches/peer.py"), name, str(unpacked)]
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


def libunftp():
    """Name and command of libunftp's server, which is built into target/."""
    if not LIBUNFTP.exists():
        print("building libunftp into", LIBUNFTP.relative_to(ROOT), file=sys.stderr)
    manifest = ROOT / "benches/libunftp/Cargo.toml"
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", LIBUNFTP]
    try:
        subprocess.run(command, cwd=ROOT, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"libunftp is left out: {error}", file=sys.stderr)
        return {}
    return {"libunftp": [str(LIBUNFTP / "release/wharf-bench-libunftp")]}


def peers():
    """Names and commands of all servers to compare but pyftpdlib's."""
    return libunftp() | debian_peers()


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def missing_libraries(packages):
    """The libraries that packages of Debian depend on, and those depend on in turn, that this host has not installed."""
    missing = []
    for package in packages:
        for name in re.findall(r"Depends: (lib\S+)", output("apt-cache", "depends", "--important", package)):
            asked = ["dpkg-query", "-W", "-f", "${db:Status-Status}", name]
            state = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            if state != "installed" and name not in missing:
                missing += [name, *(other for other in missing_libraries([name]) if other not in missing)]
    return missing


def own_network():
    """Goes on in a network of its own, if this is root: what one server leaves in TIME_WAIT takes no ports from the next. Nothing can
    be fetched any more."""
    if os.geteuid() != 0 or not shutil.which("ip") or ctypes.CDLL(None).unshare(CLONE_NEWNET):
        print("no network of its own, which takes root and iproute2: long runs may be short of ports", file=sys.stderr)
        return
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    pathlib.Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text("5000")


def built():
    """The path of Wharf, as the sources are now."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", ROOT / "target"], cwd=ROOT, check=True)
    return str(WHARF)


def commands(arguments):
    """Names and commands of the servers to compare, by the common arguments of the scripts."""
    found = {}
    paths = arguments.server or [built()]
    bare = [os.path.basename(path) for path in paths]
    for path, name in zip(paths, bare):
        if not os.access(path, os.X_OK):
            sys.exit(f"{path} is no program: name another with --server")
        # Two builds of a program have the same name.
        found[name if bare.count(name) == 1 else path] = [os.path.abspath(path)]
    if not arguments.no_peer:
        found["pyftpdlib"] = pyftpdlib()
    return found


def commit():
    """Of the sources that are built, as far as it is known."""
    try:
        return output("git", "-C", ROOT, "describe", "--always", "--dirty")
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions(arguments, names):
    """What is known of the versions of the servers."""
    found = []
    for program in arguments.server or [WHARF]:
        build = "" if arguments.server else " " + commit()
        found.append(output(program, "--version") + build)
    if "pyftpdlib" in names:
        command = [pyftpdlib()[0], "-c", "import pyftpdlib; print(pyftpdlib.__ver__)"]
        found.append("pyftpdlib " + subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip())
    if "libunftp" in names:
        lock = tomllib.loads((ROOT / "benches/libunftp/Cargo.lock").read_text())
        found += [f"libunftp {package['version']}" for package in lock["package"] if package["name"] == "libunftp"]
    for name in ("vsftpd", "proftpd", "pure-ftpd"):
        if name in names:
            found.append(f"{name} {(ROOT / 'target/bench-peers' / f'{name}.version').read_text().strip()}")
    return found


def add_arguments(parser):
    parser.add_argument("--server", action="append", metavar="PATH", help="a server to measure; may be repeated (default: target/release/wharf, which is built)")
    parser.add_argument("--no-peer", action="store_true", help="leave out the peers")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more configuration, such as 'engine=\"threads\"'")


class Folder:
    """A folder in memory (else in the temporary folder) that vanishes at the end."""

    def __enter__(self):
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="wharf-bench-", dir=base))
        (self.path / "home").mkdir()
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


class Server:
    """A running server; `home` is what it serves.

    Each has an address of its own: what others leave behind in TIME_WAIT would take its ports for a minute.
    """

    started = 0

    def __init__(self, name, command, folder, settings=(), user_settings=()):
        Server.started += 1
        self.host = f"127.0.0.{Server.started}"
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)[::-1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        self.name, self.home = name, folder.path / "home"
        config = folder.path / f"{name.replace('/', '-')}.toml"
        config.write_text(
            "\n".join([f'listen = ["{self.host}:0"]', "max_cons = 0", *settings])
            + f'\n[log]\nlevel = "error"\n[[user]]\nname = "{USER}"\npassword = "{PASSWORD}"\n'
            + "\n".join([f'home = "{self.home}"', 'perm = "elradfmwMT"', *user_settings])
        )
        # It holds a password.
        config.chmod(0o600)
        self.process = subprocess.Popen([*command, "--config", config], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        guard = threading.Timer(TIMEOUT, self.process.kill)
        guard.start()
        line = self.process.stdout.readline()
        guard.cancel()
        match = re.match(r"listening on .*:(\d+)", line)
        if not match:
            self.stop()
            raise RuntimeError(f"{name} did not say where it listens: {line!r}")
        self.port = int(match[1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def processes(self):
        """The ids of the server and of all its descendants."""
        children = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(entry.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.parent.name))
        found = [self.process.pid]
        for pid in found:
            found.extend(children.get(pid, ()))
        return found

    def cpu(self):
        """Seconds of CPU time that it has used, with children that have ended."""
        ticks = 0
        for pid in self.processes():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """KiB in user space: the proportional share of all pages, and the anonymous pages."""
        pss = anonymous = 0
        for pid in self.processes():
            try:
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            pss += int(re.search(r"^Pss: +(\d+)", text, re.M)[1])
            anonymous += int(re.search(r"^Anonymous: +(\d+)", text, re.M)[1])
        return pss, anonymous

    def anonymous_now(self):
        """KiB of anonymous pages of the server's own process; cheap enough to be asked for all the time."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^RssAnon:\s+(\d+)", text, re.M)[1])


class Client:
    """A control connection that is logged in."""

    def __init__(self, server):
        self.socket = socket.create_connection((server.host, server.port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")
        self.reply("220")
        self.command("USER " + USER, "331")
        self.command("PASS " + PASSWORD, "230")
        self.command("TYPE I", "200")

    def reply(self, *codes):
        line = self.replies.readline().decode("utf-8", "replace")
        while line[3:4] == "-":
            end = line[:3] + " "
            while not line.startswith(end):
                line = self.replies.readline().decode("utf-8", "replace")
                if not line:
                    break
        if line[:3] not in codes:
            raise RuntimeError(f"expected {' or '.join(codes)}, got {line!r}")
        return line

    def command(self, command, *codes):
        self.socket.sendall(command.encode() + b"\r\n")
        return self.reply(*codes)

    def transfer(self, command):
        """The data connection of a transfer that has begun."""
        port = int(re.search(r"\|\|\|(\d+)\|", self.command("EPSV", "229"))[1])
        data = socket.create_connection((self.socket.getpeername()[0], port), TIMEOUT)
        self.command(command, "150", "125")
        return data

    def close(self):
        self.replies.close()
        self.socket.close()


def command_line():
    return "$ " + shlex.join(["python3", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])

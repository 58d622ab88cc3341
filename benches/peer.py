"""Pure-FTPd, ProFTPD and vsftpd behind the daemon's command line: peer.py NAME FOLDER --config FILE.

The programs are those that were unpacked into FOLDER; nothing of the host is changed. The user of the configuration is a virtual
one; vsftpd, which has none, finds it in files that only its own mount namespace has. All need root.
"""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import tomllib

# Of the user whose files these are, which is nobody on this host.
UID, GID = 60001, 65534


def main():
    name, unpacked = sys.argv[1], pathlib.Path(sys.argv[2])
    with open(sys.argv[sys.argv.index("--config") + 1], "rb") as file:
        config = tomllib.load(file)
    # Libraries that the host lacks were unpacked as well.
    os.environ["LD_LIBRARY_PATH"] = ":".join(map(str, [*unpacked.glob("usr/lib/*-linux-*"), *unpacked.glob("lib/*-linux-*")]))
    user, host = config["user"][0], config["listen"][0].rpartition(":")[0]
    os.chmod(user["home"], 0o755)
    os.chown(user["home"], UID, GID)
    # Traditional crypt takes microseconds: what is measured is the server.
    crypt = subprocess.run(["perl", "-e", "print crypt($ARGV[0], 'ab')", user["password"]], stdout=subprocess.PIPE, text=True).stdout
    # Whoever changes its user must reach what it reads.
    with tempfile.TemporaryDirectory(prefix="wharf-peer-") as folder, socket.create_server((host, 0)) as probe:
        os.chmod(folder, 0o755)
        port = probe.getsockname()[1]
        probe.close()
        command = COMMANDS[name](unpacked, pathlib.Path(folder), (host, port), user, crypt)
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            wait_for((host, port), server)
            print(f"listening on {host}:{port}", flush=True)
            server.wait()
        finally:
            server.terminate()
            server.wait()


def wait_for(address, server):
    for _ in range(200):
        try:
            socket.create_connection(address, 1).close()
            return
        except OSError:
            time.sleep(0.05)
        if server.poll() is not None:
            break
    sys.exit("it does not listen")


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def pure_ftpd(unpacked, folder, address, user, crypt):
    source = write(folder / "passwd", f"{user['name']}:{crypt}:{UID}:{GID}::{user['home']}/./::::::::::::\n")
    base = folder / "base"
    subprocess.run([unpacked / "usr/bin/pure-pw", "mkdb", base, "-f", source], check=True, stdout=subprocess.DEVNULL)
    limits = ["-c", "10000", "-C", "10000", "-I", "60", "-L", "300000:10"]
    plain = ["-E", "-A", "-H", "-4", "-u", "1", "-f", "none", "-g", folder / "pid", "-U", "022:022"]
    return [unpacked / "usr/sbin/pure-ftpd", "-S", "%s,%d" % address, "-l", f"puredb:{base}", *limits, *plain]


def proftpd(unpacked, folder, address, user, crypt):
    host, port = address
    users = write(folder / "passwd", f"{user['name']}:{crypt}:{UID}:{GID}::{user['home']}:/bin/sh\n")
    groups = write(folder / "group", f"nogroup:x:{GID}:\n")
    lines = f"""
        ServerType standalone
        Port {port}
        DefaultAddress {host}
        SocketBindTight on
        UseIPv6 off
        User nobody
        Group nogroup
        ModulePath {unpacked}/usr/lib/proftpd
        ScoreboardFile {folder}/scoreboard
        PidFile {folder}/pid
        DelayEngine off
        AuthOrder mod_auth_file.c
        AuthUserFile {users}
        AuthGroupFile {groups}
        RequireValidShell off
        DefaultRoot ~
        UseReverseDNS off
        WtmpLog off
        TransferLog NONE
        SystemLog NONE
        MaxInstances none
        AllowOverwrite on
        UseSendfile on
    """
    return [unpacked / "usr/sbin/proftpd", "-n", "-q", "-c", write(folder / "conf", textwrap.dedent(lines))]


def vsftpd(unpacked, folder, address, user, crypt):
    host, port = address
    for name in ("empty", "pam.d"):
        (folder / name).mkdir(0o755)
    write(folder / "pam.d/wharf", "auth required pam_unix.so\naccount required pam_unix.so\n", 0o644)
    entry = f"{user['name']}:x:{UID}:{GID}::{user['home']}:/bin/sh\nftp:x:{UID + 1}:{GID}::{user['home']}:/bin/sh\n"
    users = write(folder / "passwd", pathlib.Path("/etc/passwd").read_text() + entry, 0o644)
    hashes = write(folder / "shadow", pathlib.Path("/etc/shadow").read_text() + f"{user['name']}:{crypt}:19000:0:99999:7:::\n")
    settings = {
        "listen_address": host,
        "listen_port": port,
        "pam_service_name": "wharf",
        "secure_chroot_dir": folder / "empty",
        "local_umask": "022",
        "max_clients": 0,
        "max_per_ip": 0,
    }
    yes = "listen local_enable write_enable chroot_local_user allow_writeable_chroot use_sendfile"
    # Its network namespaces cost it half of its logins, and its sandbox does not run everywhere.
    no = "background anonymous_enable xferlog_enable isolate isolate_network seccomp_sandbox tcp_wrappers"
    settings |= dict.fromkeys(yes.split(), "YES") | dict.fromkeys(no.split(), "NO")
    conf = write(folder / "conf", "".join(f"{key}={value}\n" for key, value in settings.items()))
    script = 'mount --bind "$1" /etc/pam.d && mount --bind "$2" /etc/passwd && mount --bind "$3" /etc/shadow && exec "$4" "$5"'
    program = unpacked / "usr/sbin/vsftpd"
    shell = ["sh", "-c", script, "sh", folder / "pam.d", users, hashes, program, conf]
    return ["unshare", "--mount", "--propagation", "private", *shell]


COMMANDS = {"pure-ftpd": pure_ftpd, "proftpd": proftpd, "vsftpd": vsftpd}

main()

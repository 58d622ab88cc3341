"""Checks of an FTP server through Python's ftplib: ftplib_checks.py HOST PORT USER PASSWORD HOME CHECK.

HOME is the folder that the server serves to USER, with every permission. Each check starts from an empty one and leaves by
an exception if something is not as it should be.
"""
import concurrent.futures
import ftplib
import hashlib
import io
import os
import random
import re
import shutil
import socket
import struct
import sys
import threading
import time

HOST, PORT, USER, PASSWORD, HOME, CHECK = sys.argv[1:]
TIMEOUT = 20


def connect(encoding="utf-8", login=True):
    ftp = ftplib.FTP(timeout=TIMEOUT, encoding=encoding)
    ftp.connect(HOST, int(PORT))
    if login:
        ftp.login(USER, PASSWORD)
    return ftp


def home(name=""):
    return os.path.join(os.fsencode(HOME), name if isinstance(name, bytes) else name.encode())


def serve(name, contents=b"", modified=1_000_000_000):
    os.makedirs(os.path.dirname(home(name)), exist_ok=True)
    with open(home(name), "wb") as file:
        file.write(contents)
    os.utime(home(name), (modified, modified))


def stored(name):
    with open(home(name), "rb") as file:
        return file.read()


def octets(length, seed=1):
    return random.Random(seed).randbytes(length)


def get(ftp, name, **options):
    chunks = []
    ftp.retrbinary("RETR " + name, chunks.append, **options)
    return b"".join(chunks)


def lines(ftp, command):
    found = []
    ftp.retrlines(command, found.append)
    return found


def equal(got, expected, what=""):
    if got != expected:
        raise AssertionError(f"{what}: got {str(got)[:2000]}, expected {str(expected)[:2000]}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def reply(ftp, command):
    """The reply to a command, whether good or bad."""
    try:
        return ftp.sendcmd(command)
    except ftplib.Error as error:
        return str(error)


def code(ftp, command, *expected):
    text = reply(ftp, command)
    true(text[:3] in expected, f"{command}: {text!r}, expected {' or '.join(expected)}")
    return text


def wait_until(condition, what):
    """Waits for something that the server does without saying so."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        true(time.monotonic() < deadline, f"in vain: {what}")
        time.sleep(0.01)


def size_of(name):
    return os.stat(home(name)).st_size if os.path.exists(home(name)) else 0


def before_login():
    ftp = connect(login=False)
    true(ftp.getwelcome().startswith("220"), ftp.getwelcome())
    features = code(ftp, "FEAT", "211").split("\n")
    true(features[0].startswith("211-") and features[-1] == "211 End", features)
    true(all(re.fullmatch(r" [A-Z0-9]\S*( .*\S)?", line) for line in features[1:-1]), features)
    names = {line.split()[0] for line in features[1:-1]}
    for name in ("EPRT", "EPSV", "MDTM", "MFMT", "MLST", "REST", "SIZE", "TVFS", "UTF8"):
        true(name in names, f"{name} is not in {sorted(names)}")
    true(" REST STREAM" in features, features)
    for command in ("OPTS UTF8 ON", "opts utf8 on", "CLNT a client", "NOOP"):
        code(ftp, command, "200")
    code(ftp, "SYST", "215")
    equal(ftp.sendcmd("SYST"), "215 UNIX Type: L8")
    for command in ("PWD", "LIST", "RETR x", "CWD /", "EPSV", "SIZE x", "MKD x", "TYPE I"):
        code(ftp, command, "530")
    code(ftp, "PASS x", "503")
    try:
        ftp.login(USER, "wrong")
        raise AssertionError("a wrong password was taken")
    except ftplib.error_perm as error:
        true(str(error).startswith("530"), str(error))
    ftp.login(USER, PASSWORD)
    ftp.pwd()
    ftp.quit()
    anonymous = connect(login=False)
    anonymous.login()
    code(anonymous, "MKD x", "550")
    anonymous.quit()


def lists():
    for name in ("a.txt", "b.txt", "c.dat", ".dot", "star*.txt", "sub/inside", "sub/second"):
        serve(name, b"12345")
    os.mkdir(home("empty"))
    os.symlink("a.txt", home("link"))
    os.chmod(home("a.txt"), 0o640)
    ftp = connect()
    visible = {"a.txt", "b.txt", "c.dat", "star*.txt", "sub", "empty", "link"}
    equal(set(ftp.nlst()) - {".dot"}, visible, "NLST")
    equal(ftp.nlst(), sorted(ftp.nlst(), key=str.encode), "NLST in order")
    equal(sorted(os.path.basename(name) for name in ftp.nlst("sub")), ["inside", "second"], "NLST sub")
    for name in ftp.nlst("sub"):
        equal(get(ftp, name if "/" in name else "sub/" + name), b"12345", "what NLST shows can be fetched")
    equal(ftp.nlst("empty"), [], "NLST of an empty folder")
    equal(ftp.nlst("a.txt"), ["a.txt"], "NLST of a file")
    equal(ftp.nlst("?.txt"), ["a.txt", "b.txt"], "NLST ?.txt")
    equal(ftp.nlst("[ac].*"), ["a.txt", "c.dat"], "NLST [ac].*")
    equal(ftp.nlst("*.txt"), ["a.txt", "b.txt", "star*.txt"], "NLST *.txt")
    equal(ftp.nlst("star*.txt"), ["star*.txt"], "NLST of a name that looks like a pattern")
    equal([os.path.basename(name) for name in ftp.nlst("sub/i*")], ["inside"], "NLST sub/i*")
    equal(set(lines(ftp, "NLST -1")) - {".dot"}, visible, "NLST -1")
    true(".dot" in lines(ftp, "NLST -a"), "NLST -a shows dot files")

    def names(command):
        return {line.split(None, 8)[8].split(" -> ")[0] for line in lines(ftp, command)}

    entry = re.compile(r"[-dl]([r-][w-][xsStT-]){3} +\d+ \S+ +\S+ +\d+ [A-Z][a-z]{2} [ \d]\d (\d\d:\d\d| \d{4}) \S")
    for line in lines(ftp, "LIST -a"):
        true(entry.match(line), f"not of the form of ls -l: {line!r}")
    equal(names("LIST") - {".dot"}, visible, "LIST")
    equal(names("LIST -a") - {".", ".."}, visible | {".dot"}, "LIST -a")
    for command in ("LIST sub", "LIST -a sub", "LIST -la sub", "LIST -l -a sub", "LIST -aL sub", "LIST /sub/", "LIST -alF sub"):
        equal({os.path.basename(name) for name in names(command)} - {".", ".."}, {"inside", "second"}, command)
    equal(lines(ftp, "LIST empty"), [], "LIST of an empty folder")
    line, = [line for line in lines(ftp, "LIST") if line.startswith("-") and line.endswith(" a.txt")]
    true(line.startswith("-rw-r----- ") and re.search(r" 5 Sep [ 0]9  2001 a\.txt$", line), line)
    line, = [line for line in lines(ftp, "LIST") if line.startswith("l")]
    true(line.endswith(" link -> a.txt"), line)
    recent = int(time.time()) - 3600
    serve("recent", modified=recent)
    line, = [line for line in lines(ftp, "LIST") if line.endswith(" recent")]
    true(time.strftime("%H:%M recent", time.gmtime(recent)) in line, f"a recent file by the hour, in UTC: {line}")
    code(ftp, "STAT a.txt", "213", "212", "211")
    true("inside" in code(ftp, "STAT sub", "212", "213", "211"), "STAT of a folder lists it")
    found = []
    ftp.dir("sub", found.append)
    equal(len(found), 2, "dir()")
    ftp.quit()


def facts():
    serve("file", b"contents")
    serve("sub/inside", b"12345")
    os.mkdir(home("empty"))
    os.chmod(home("file"), 0o640)
    os.symlink("nowhere", home("broken"))
    ftp = connect()
    wanted = ["type", "size", "modify", "perm", "unique", "unix.mode", "unix.uid", "unix.gid"]
    entries = dict(ftp.mlsd("", wanted))
    entries = {name: facts for name, facts in entries.items() if facts["type"] not in ("cdir", "pdir")}
    equal(set(entries), {"file", "sub", "empty", "broken"}, "MLSD")
    file, info = entries["file"], os.stat(home("file"))
    equal((file["type"], file["size"], file["modify"]), ("file", "8", "20010909014640"), "facts of a file")
    equal(file["unix.mode"], "0640", "UNIX.mode")
    equal((file["unix.uid"], file["unix.gid"]), (str(info.st_uid), str(info.st_gid)), "UNIX.uid and gid")
    equal(set(file["perm"]), set("adfrw"), "perm of a file")
    equal(set(entries["sub"]["perm"]), set("cdeflmp"), "perm of a folder")
    equal(entries["sub"]["type"], "dir", "type of a folder")
    true("size" not in entries["sub"], "a folder has no size")
    equal(entries["broken"]["type"].lower(), "os.unix=slink:nowhere", "a link to nowhere")
    true(file["unique"] and file["unique"] != entries["sub"]["unique"], "unique")
    equal([name for name, facts in ftp.mlsd("empty") if facts["type"] not in ("cdir", "pdir")], [], "an empty folder")
    equal([name for name, facts in ftp.mlsd("sub") if facts["type"] == "file"], ["inside"], "MLSD sub")
    text = code(ftp, "OPTS MLST Size;TYPE;made.up;", "200").lower()
    true(text in ("200 mlst opts type;size;", "200 mlst opts size;type;"), text)
    text = code(ftp, "MLST file", "250").split("\n")
    true(re.fullmatch(r" type=file;size=8; /?file", text[1], re.I), text)
    equal(len(text), 3, "MLST has one line between the first and the last")
    code(ftp, "OPTS MLST type;size;modify;unix.mode;", "200")

    digest = hashlib.sha256(b"contents").hexdigest()
    equal(ftp.sendcmd("HASH file"), f"213 SHA-256 0-8 {digest} file")
    equal(ftp.sendcmd("XSHA256 \"file\""), f"250 {digest.upper()}")
    true(code(ftp, "AVBL", "213")[4:].isdigit(), "AVBL is a number")
    equal(ftp.size("file"), 8, "SIZE")
    equal(ftp.sendcmd("MDTM file"), "213 20010909014640")
    text = code(ftp, "MFMT 20200229123456 file", "213")
    true(re.fullmatch(r"213 modify=20200229123456; /?file", text, re.I), text)
    equal(ftp.sendcmd("MDTM file"), "213 20200229123456")
    text = code(ftp, "MFF modify=20100101000000;UNIX.mode=0600; file", "213")
    equal(ftp.sendcmd("MDTM file"), "213 20100101000000")
    equal(os.stat(home("file")).st_mode & 0o777, 0o600, "MFF UNIX.mode")
    code(ftp, "SITE UTIME 20110102030405 file", "200", "213")
    equal(ftp.sendcmd("MDTM file"), "213 20110102030405")
    code(ftp, "SITE UTIME file 20120102030405 20130102030405 20140102030405 UTC", "200", "213")
    equal(ftp.sendcmd("MDTM file"), "213 20130102030405")
    code(ftp, "SITE CHMOD 644 file", "200")
    equal(os.stat(home("file")).st_mode & 0o777, 0o644, "SITE CHMOD")
    code(ftp, "SITE UMASK 077", "200")
    ftp.storbinary("STOR private", io.BytesIO(b"x"))
    equal(os.stat(home("private")).st_mode & 0o777, 0o600, "a file made under SITE UMASK 077")
    code(ftp, "SITE CHMOD 888 file", "501")
    code(ftp, "MFMT 20190229000000 file", "501")
    ftp.quit()


def missing_names():
    os.mkdir(home("folder"))
    ftp = connect()
    for command in ("SIZE", "MDTM", "CWD", "RETR", "DELE", "RNFR", "RMD", "MLST", "MLSD", "LIST", "NLST", "STAT", "APPE", "STOR"):
        # The refusals of transfers must reach a client that has connected its data channel already.
        for path in ("missing/x",) if command in ("APPE", "STOR") else ("missing", "missing/x", "/folder/missing"):
            ftp.voidcmd("TYPE I")
            host, port = ftp.makepasv()
            with socket.create_connection((host, port), TIMEOUT):
                code(ftp, f"{command} {path}", "550", *(("553",) if command in ("APPE", "STOR") else ()))
    code(ftp, "RETR folder", "550")
    code(ftp, "CWD folder/..", "250")
    code(ftp, "DELE folder", "550")
    code(ftp, "RMD /", "550")
    code(ftp, "MKD folder", "550")
    code(ftp, "MFMT 20200101000000 missing", "550")
    code(ftp, "SITE CHMOD 644 missing", "550")
    code(ftp, "MKD missing/folder", "550", "553")
    code(ftp, "RNTO x", "503")
    equal(os.listdir(HOME), ["folder"], "nothing was made")
    ftp.quit()


def transfers():
    ftp = connect()
    for passive in (True, False):
        ftp.set_pasv(passive)
        for length in (0, 1, 1023, 65536, 65537, 3_000_000):
            contents = octets(length, length)
            ftp.storbinary("STOR file", io.BytesIO(contents))
            true(stored("file") == contents, f"{length} octets stored, passive {passive}")
            true(get(ftp, "file") == contents, f"{length} octets fetched, passive {passive}")
            equal(ftp.size("file"), length, "SIZE")
            connection, size = ftp.ntransfercmd("RETR file")
            equal(size, length, "the size in the 150")
            with connection, connection.makefile("rb") as data:
                true(data.read() == contents, "fetched by hand")
            ftp.voidresp()
    # In place of what was there, and behind it.
    ftp.storbinary("STOR file", io.BytesIO(b"short"))
    equal(stored("file"), b"short", "STOR in place of a longer file")
    ftp.storbinary("APPE file", io.BytesIO(b" and more"))
    equal(stored("file"), b"short and more", "APPE")
    ftp.storbinary("APPE fresh", io.BytesIO(b"fresh"))
    equal(stored("fresh"), b"fresh", "APPE to a missing file")
    os.mkdir(home("unique"))
    ftp.cwd("unique")
    names = []
    for command in ("STOU", "STOU", "STOU prefix", "STOU prefix"):
        ftp.voidcmd("TYPE I")
        host, port = ftp.makepasv() if ftp.passiveserver else (None, None)
        if port is None:
            listener = ftp.makeport()
            first = ftp.sendcmd(command)
            connection, _ = listener.accept()
            listener.close()
        else:
            connection = socket.create_connection((host, port), TIMEOUT)
            first = ftp.sendcmd(command)
        name = re.fullmatch(r"1[25][50] FILE: (.+)", first)
        true(name, f"the first reply to {command}: {first}")
        connection.sendall(command.encode())
        connection.close()
        last = ftp.voidresp()
        true(last.startswith("226"), last)
        names.append(name[1])
        equal(stored("unique/" + name[1]), command.encode(), command)
    equal(sorted(os.listdir(home("unique"))), sorted(name.encode() for name in names), "four different names")
    ftp.cwd("/")
    ftp.rename("file", "unique/renamed")
    equal(stored("unique/renamed"), b"short and more", "rename")
    ftp.delete("unique/renamed")
    true(not os.path.exists(home("unique/renamed")), "delete")
    ftp.quit()


def restart():
    contents = octets(500_000, 3)
    serve("file", contents)
    ftp = connect()
    for rest in (0, 1, 65536, 499_999, 500_000):
        true(get(ftp, "file", rest=rest) == contents[rest:], f"REST {rest}")
        true(get(ftp, "file") == contents, "REST counts for one transfer only")
    ftp.voidcmd("TYPE I")
    code(ftp, "REST 400000", "350")
    for command in ("SIZE file", "NOOP", "MDTM file", "STAT file"):
        ftp.sendcmd(command)
    true(get(ftp, "file", rest=None)[:1] == contents[:1], "TYPE clears REST")
    # REST between the passive port and the transfer.
    host, port = ftp.makepasv()
    code(ftp, "REST 499990", "350")
    with socket.create_connection((host, port), TIMEOUT) as connection, connection.makefile("rb") as data:
        code(ftp, "RETR file", "150", "125")
        equal(data.read(), contents[-10:], "REST after PASV")
    ftp.voidresp()
    code(ftp, "REST 10", "350")
    code(ftp, "REST 0", "350")
    true(get(ftp, "file") == contents, "REST 0 clears REST")
    # Beyond the end.
    ftp.voidcmd("TYPE I")
    host, port = ftp.makepasv()
    code(ftp, "REST 500001", "350")
    with socket.create_connection((host, port), TIMEOUT):
        code(ftp, "RETR file", "554")
    code(ftp, "REST x", "501")
    # Uploads.
    ftp.storbinary("STOR file", io.BytesIO(b"HERE"), rest=100)
    after = stored("file")
    true(after[:104] == contents[:100] + b"HERE", "REST and STOR write at the marker")
    true(after[104:] in (b"", contents[104:]), "what is behind a resumed upload")
    serve("part", contents[:1000])
    ftp.storbinary("STOR part", io.BytesIO(contents[1000:]), rest=1000)
    true(stored("part") == contents, "an upload resumed by REST and STOR")
    serve("part", contents[:1000])
    ftp.storbinary("APPE part", io.BytesIO(contents[1000:]))
    true(stored("part") == contents, "an upload resumed by APPE")
    ftp.quit()


def ascii():
    text = b"".join(b"line %d\n" % number for number in range(30_000)) + b"no end"
    serve("text", text)
    ftp = connect()
    ftp.voidcmd("TYPE A")
    with ftp.transfercmd("RETR text") as connection, connection.makefile("rb") as data:
        wire = data.read()
    ftp.voidresp()
    true(wire == text.replace(b"\n", b"\r\n"), "LF goes out as CR LF")
    found = lines(ftp, "RETR text")
    equal(found[:2] + found[-1:], ["line 0", "line 1", "no end"], "retrlines")
    ftp.storlines("STOR back", io.BytesIO(text))
    true(stored("back") == text + b"\n", "storlines: CR LF comes in as LF")
    # CR and LF in different segments.
    ftp.voidcmd("TYPE A")
    connection = ftp.transfercmd("STOR split")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in (b"a\r", b"\nb\r", b"\n", b"\r", b"\n", b"c\rd\r\r", b"\ne\n"):
        connection.sendall(piece)
    connection.close()
    ftp.voidresp()
    equal(stored("split"), b"a\nb\n\nc\rd\r\ne\n", "CR and LF in different segments")
    answer = code(ftp, "SIZE text", "213", "550")
    if answer.startswith("213"):
        equal(answer, f"213 {len(wire)}", "SIZE in TYPE A counts what would be sent")
    for command in ("TYPE A N", "TYPE L 8", "TYPE I", "type a"):
        code(ftp, command, "200")
    ftp.quit()


def abort():
    size = 64 << 20
    with open(home("big"), "wb") as file:
        file.truncate(size)
    contents = octets(100_000)
    serve("small", contents)

    def plain(ftp):
        ftp.sock.sendall(b"ABOR\r\n")

    def urgent(ftp):
        # As ftplib's own abort(): the LF is the urgent octet.
        ftp.sock.sendall(b"ABOR\r\n", socket.MSG_OOB)

    def telnet(ftp):
        ftp.sock.sendall(b"\xff\xf4\xff", socket.MSG_OOB)
        ftp.sock.sendall(b"\xf2ABOR\r\n")

    ftp = connect()
    for send in (plain, urgent, telnet):
        # Nobody reads the data: the server stands with full buffers when ABOR comes.
        ftp.voidcmd("TYPE I")
        connection = ftp.transfercmd("RETR big")
        true(connection.recv(1), "the transfer has begun")
        send(ftp)
        first = ftp.getmultiline()
        true(first.startswith("426") and "ABOR" not in first, f"after {send.__name__}: {first}")
        second = ftp.getmultiline()
        true(second.startswith("226"), f"after {send.__name__}: {second}")
        connection.close()
        true(get(ftp, "small") == contents, f"the session goes on after {send.__name__}")

    # During an upload: what has come is kept.
    connection = ftp.transfercmd("STOR up")
    connection.sendall(contents)
    wait_until(lambda: size_of("up") == len(contents), "what has come is written")
    code(ftp, "STAT", "211")
    urgent(ftp)
    first = ftp.getmultiline()
    true(first.startswith("426"), first)
    true(ftp.getmultiline().startswith("226"), "ABOR of an upload")
    connection.close()
    true(stored("up") == contents, "what had come before ABOR is kept")

    # The client closes the data connection, and says ABOR.
    connection = ftp.transfercmd("RETR big")
    connection.recv(1)
    connection.close()
    urgent(ftp)
    true(ftp.getmultiline()[:3] in ("426", "451"), "a client that closes and aborts")
    true(ftp.getmultiline()[:3] == "226", "ABOR after the connection was closed")
    # Nothing to abort; something not begun.
    true(ftp.abort()[:3] in ("225", "226"), "ABOR of nothing")
    ftp.makepasv()
    true(ftp.abort()[:3] in ("225", "226"), "ABOR of a passive port")
    true(get(ftp, "small") == contents, "the session goes on")
    # A client that has enough without ABOR: one reply.
    connection = ftp.transfercmd("RETR big")
    connection.recv(1)
    connection.close()
    try:
        ftp.voidresp()
        raise AssertionError("a transfer cut short was called complete")
    except ftplib.error_temp as error:
        true(str(error)[:3] in ("426", "451"), str(error))
    # STAT and NOOP during a transfer.
    connection = ftp.transfercmd("RETR big")
    connection.recv(1)
    true(code(ftp, "STAT", "211"), "STAT during a transfer")
    ftp.putcmd("NOOP")
    with connection:
        received, view = 1, bytearray(1 << 20)
        while count := connection.recv_into(view):
            received += count
    equal(received, size, "the transfer was not disturbed")
    equal(sorted(ftp.getmultiline()[:3] for _ in range(2)), ["200", "226"], "the replies to RETR and NOOP")
    ftp.quit()


def names():
    # Every octet that a name can hold, in every place; Latin-1 makes octets of the characters of the same number.
    ftp = connect(encoding="latin-1")
    singles = [bytes([octet]) for octet in range(1, 256) if octet not in b"\r\n/"]
    every = [octet for octet in singles if octet != b"."] + [b"x" + octet + b"y" for octet in singles]
    every += [b" x", b"x ", b"  ", b"~root", b"...", b'""', b'a"b"c', "na\u00efve \u65e5\u672c".encode(), b"x" * 255]
    for name in every:
        ftp.storbinary("STOR " + name.decode("latin-1"), io.BytesIO(name))
    equal(sorted(os.listdir(home())), sorted(every), "what is stored")
    equal(sorted(names_of(ftp)), sorted(every), "what NLST shows")
    for name in every:
        equal(get(ftp, name.decode("latin-1")), name, "what is fetched")
        ftp.delete(name.decode("latin-1"))
    equal(os.listdir(home()), [], "what is left")
    # Folders: 257 doubles quotes, and Telnet doubles the octet 255.
    for name in every:
        made = ftp.mkd(name.decode("latin-1")).encode("latin-1").replace(b"\xff\xff", b"\xff")
        equal(made, b"/" + name, "the reply to MKD")
        ftp.cwd(name.decode("latin-1"))
        equal(ftp.pwd().encode("latin-1").replace(b"\xff\xff", b"\xff"), b"/" + name, "the reply to PWD")
        ftp.cwd("/")
    equal(sorted(os.listdir(home())), sorted(every), "which folders were made")
    for name in every:
        ftp.rmd(name.decode("latin-1"))
    equal(os.listdir(home()), [], "what is left")
    ftp.makepasv()
    code(ftp, "STOR " + "x" * 256, "553", "550")
    ftp.quit()


def names_of(ftp):
    chunks = []
    ftp.retrbinary("NLST", chunks.append)
    return b"".join(chunks).split(b"\r\n")[:-1]


def folders():
    ftp = connect()
    equal(ftp.pwd(), "/", "PWD")
    equal(ftp.mkd('qu"ote'), '/qu"ote', "MKD")
    ftp.cwd('qu"ote')
    equal(ftp.pwd(), '/qu"ote', "PWD")
    equal(ftp.mkd("deeper"), '/qu"ote/deeper', "MKD")
    ftp.cwd("deeper")
    for command in ("CDUP", "XCUP", "CWD .", "CWD ..", "CWD ../../.."):
        code(ftp, command, "250", "200")
    equal(ftp.pwd(), "/", "no way out of the root")
    ftp.cwd("..")
    ftp.cwd('/qu"ote//deeper/./')
    equal(ftp.pwd(), '/qu"ote/deeper', "PWD")
    code(ftp, "XPWD", "257")
    code(ftp, "XMKD x", "257")
    code(ftp, "XRMD x", "250")
    ftp.rename("/qu\"ote/deeper", "/moved")
    code(ftp, "PWD", "257")
    ftp.cwd("/")
    serve("moved/file", b"x")
    code(ftp, "RMD moved", "550")
    code(ftp, "RMD moved/file", "550")
    ftp.delete("moved/file")
    ftp.rmd("moved")
    ftp.rmd('qu"ote')
    equal(os.listdir(HOME), [], "what is left")
    # A link that leads out of the home folder is not followed.
    outside = HOME + "-outside"
    os.mkdir(outside)
    try:
        with open(outside + "/secret", "w") as file:
            file.write("secret")
        os.symlink(outside, home("out"))
        os.symlink(outside + "/secret", home("file"))
        for command in ("CWD out", "RETR file", "RETR out/secret", "SIZE file", "DELE out/secret", "STOR out/new", "MKD out/new"):
            if command[:4] in ("RETR", "STOR"):
                ftp.voidcmd("TYPE I")
                ftp.makepasv()
            code(ftp, command, "550", "553")
        equal(os.listdir(outside), ["secret"], "nothing happened outside")
    finally:
        shutil.rmtree(outside)
    ftp.quit()


def addresses():
    serve("file", b"contents")
    ftp = connect()
    ftp.voidcmd("TYPE I")
    text = code(ftp, "PASV", "227")
    true(re.fullmatch(r"227 [^\d(]*\(127,0,0,1,\d{1,3},\d{1,3}\)\.?", text), text)
    text = code(ftp, "EPSV", "229")
    true(re.fullmatch(r"229 [^(]*\(\|\|\|\d{2,5}\|\)\.?", text), text)
    for argument in ("EPSV 1", "EPSV"):
        port = int(re.search(r"\|\|\|(\d+)\|", code(ftp, argument, "229"))[1])
        with socket.create_connection((HOST, port), TIMEOUT) as connection, connection.makefile("rb") as data:
            code(ftp, "RETR file", "150", "125")
            equal(data.read(), b"contents", argument)
        ftp.voidresp()
    code(ftp, "EPSV 2", "522")
    # A name resolved by ftplib for PASV, not trusted: the same with the address taken.
    ftp.trust_server_pasv_ipv4_address = True
    equal(get(ftp, "file"), b"contents", "PASV with the address of the 227")
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(TIMEOUT)
        port = listener.getsockname()[1]
        for command in (f"PORT 127,0,0,1,{port // 256},{port % 256}", f"EPRT |1|127.0.0.1|{port}|", f"EPRT !1!127.0.0.1!{port}!"):
            code(ftp, command, "200")
            code(ftp, "RETR file", "150", "125")
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as data:
                equal(data.read(), b"contents", command)
            ftp.voidresp()
    # Third parties and privileged ports.
    for command in ("PORT 127,0,0,2,200,1", "EPRT |1|192.0.2.1|51201|", "PORT 127,0,0,1,0,25"):
        code(ftp, command, "504", "500", "501", "425")
    code(ftp, "EPRT |2|::1|51201|", "522")
    code(ftp, "EPRT |3|x|51201|", "522", "501")
    code(ftp, "PORT 127,0,0,1,200", "501")
    # From one session of the server to another one.
    other = connect()
    other.voidcmd("TYPE I")
    there = re.search(r"\(([\d,]+)\)", code(other, "PASV", "227"))[1]
    code(ftp, "PORT " + there, "200")
    other.putcmd("STOR copy")
    true(other.getresp()[:3] in ("150", "125"), "STOR between two sessions")
    code(ftp, "RETR file", "150", "125")
    true(ftp.voidresp().startswith("226") and other.voidresp().startswith("226"), "a transfer between two sessions")
    equal(stored("copy"), b"contents", "a transfer between two sessions")
    code(ftp, "EPSV ALL", "200")
    for command in ("PASV", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|51201|"):
        code(ftp, command, "503", "501")
    other.quit()
    ftp.quit()


def addresses_ipv6():
    serve("file", b"contents")
    ftp = connect()
    ftp.voidcmd("TYPE I")
    code(ftp, "PASV", "425", "522", "501", "503")
    code(ftp, "PORT 127,0,0,1,200,1", "522", "504", "501", "425")
    code(ftp, "EPSV 1", "522")
    code(ftp, "EPRT |1|127.0.0.1|51201|", "522")
    for command in ("EPSV", "EPSV 2"):
        port = int(re.search(r"\|\|\|(\d+)\|", code(ftp, command, "229"))[1])
        with socket.create_connection((HOST, port), TIMEOUT) as connection, connection.makefile("rb") as data:
            code(ftp, "RETR file", "150", "125")
            equal(data.read(), b"contents", command)
        ftp.voidresp()
    ftp.quit()


def small_commands():
    serve("file", b"contents")
    ftp = connect()
    for command, codes in (
        ("NOOP", "200"), ("noop", "200"), ("SYST", "215"), ("STAT", "211"), ("HELP", "214 211"), ("HELP STOR", "214"),
        ("SITE HELP", "214"), ("ALLO 1000", "202 200"), ("ALLO 1000 R 10", "202 200"), ("ACCT x", "202"), ("SMNT x", "502 202 550"),
        ("MODE S", "200"), ("STRU F", "200"), ("TYPE A N", "200"), ("TYPE L 8", "200"), ("MODE B", "200 504"), ("MODE X", "501 504"),
        ("MODE S", "200"), ("TYPE X", "501 504"), ("STRU X", "501 504"), ("OPTS UTF8 ON", "200"), ("OPTS MLST type;", "200"),
        ("CLNT x", "200"), ("XYZZY", "500"), ("AUTH GSSAPI", "504 502 500"), ("HELP XYZZY", "501 502"), ("SITE XYZZY", "501 500 502 504"),
        ("SITE UMASK", "200"), ("CWD", "501 250"), ("RETR", "501"), ("REIN", "220 230"), ("PWD", "530"),
    ):
        code(ftp, command, *codes.split())
    ftp.login(USER, PASSWORD)
    equal(get(ftp, "file"), b"contents", "after REIN")
    code(ftp, "USER " + USER, "331")
    code(ftp, "PASS " + PASSWORD, "230")
    equal(get(ftp, "file"), b"contents", "after another USER")
    true(ftp.quit().startswith("221"), "QUIT")


def under_tls():
    """1000 small files each way, on two connections; by default ftplib resumes nothing."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.minimum_version = context.maximum_version = version
        ftp = ftplib.FTP_TLS(context=context, timeout=TIMEOUT)
        ftp.connect(HOST, int(PORT))
        ftp.login(USER, PASSWORD)
        ftp.prot_p()
        equal(ftp.sock.version(), "TLSv1.2" if version == ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
        for number in range(500):
            name, contents = f"small{number}", octets(number * 7, number + 1)
            ftp.storbinary(f"STOR {name}", io.BytesIO(contents))
            equal(stored(name), contents, name)
            equal(get(ftp, name), contents, name)
        true("small499" in ftp.nlst(), "a listing")
        ftp.quit()


def crowd():
    """Twenty clients log in, move files both ways and list, at the same time."""
    clients = 20
    contents = octets(200_000)
    serve("file", contents)
    ready = threading.Barrier(clients, timeout=TIMEOUT)

    def client(number):
        ready.wait()
        ftp = connect()
        ready.wait()
        for turn in range(3):
            true(get(ftp, "file") == contents, "a file fetched")
            ftp.storbinary(f"STOR {number}", io.BytesIO(contents[number:]))
            true("file" in ftp.nlst(), "NLST")
        ftp.quit()

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for result in [pool.submit(client, number) for number in range(clients)]:
            result.result()
    for number in range(clients):
        true(stored(str(number)) == contents[number:], f"what client {number} stored")


def vanish():
    """The server has 20 places. Clients leave at every moment, by FIN and by RST, and their places are free at once."""
    with open(home("big"), "wb") as file:
        file.truncate(64 << 20)

    def patient(login=True):
        """A client that is let in. The server needs a moment to hear that others left: the first answers may be 421."""
        found = []

        def enter():
            try:
                found.append(connect(login=login))
            except (ftplib.error_temp, EOFError, ConnectionError):
                pass
            return found

        wait_until(enter, "a place comes free")
        return found[0]

    def after_command(*commands):
        def stage(ftp):
            for command in commands:
                ftp.putcmd(command)
        return stage

    def in_download(ftp):
        ftp.voidcmd("TYPE I")
        ftp.data = ftp.transfercmd("RETR big")
        true(ftp.data.recv(1), "a transfer has begun")

    def in_upload(ftp):
        name = f"up{ftp.sock.getsockname()[1]}"
        ftp.voidcmd("TYPE I")
        ftp.data = ftp.transfercmd("STOR " + name)
        ftp.data.sendall(bytes(1000))
        wait_until(lambda: size_of(name) == 1000, "what has come is written")
        uploads.append(name)

    def listening(ftp):
        ftp.voidcmd("TYPE I")
        ftp.makepasv()
        ftp.putcmd("RETR big")

    uploads = []
    stages = [
        (False, lambda ftp: None),
        (False, lambda ftp: ftp.sock.sendall(b"USER us")),
        (False, after_command("USER " + USER)),
        (False, after_command("USER " + USER, "PASS " + PASSWORD)),
        (True, lambda ftp: None),
        (True, after_command("PASV")),
        (True, listening),
        (True, in_download),
        (True, in_upload),
        (True, after_command("RNFR big")),
    ]
    for reset in (False, True):
        gone = []
        for _ in range(2):
            for login, stage in stages:
                ftp = patient(login)
                stage(ftp)
                gone.append(ftp)
        equal(len(gone), 20, "the places that are taken")
        refused = ftplib.FTP(timeout=TIMEOUT)
        try:
            refused.connect(HOST, int(PORT))
            raise AssertionError("a 21st client was let in")
        except ftplib.error_temp as error:
            true(str(error).startswith("421"), str(error))
        refused.close()
        for ftp in gone:
            for connection in (getattr(ftp, "data", None), ftp.sock):
                if connection and reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if connection:
                    connection.close()
            # What was received and not read makes a RST of the FIN; ftplib's file object keeps the socket open.
            ftp.file.close()
        # All places at once.
        present = [patient() for _ in range(20)]
        for ftp in present:
            ftp.voidcmd("NOOP")
            ftp.quit()
    equal([size_of(name) for name in uploads], [1000] * 4, "what clients had stored when they left")


globals()[CHECK]()

"""pyftpdlib's asynchronous server behind the daemon's command line: pyftpdlib_server.py --config FILE."""
import signal
import sys
import tomllib

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.log import config_logging
from pyftpdlib.servers import FTPServer


def main():
    with open(sys.argv[sys.argv.index("--config") + 1], "rb") as file:
        config = tomllib.load(file)
    # What it complains of is found by whoever asks it.
    config_logging(level=50)
    authorizer = DummyAuthorizer()
    for user in config["user"]:
        authorizer.add_user(user["name"], user["password"], user["home"], perm=user["perm"])
    FTPHandler.authorizer = authorizer
    host, port = config["listen"][0].rsplit(":", 1)
    server = FTPServer((host, int(port)), FTPHandler)
    server.max_cons = 100_000
    print(f"listening on {host}:{server.address[1]}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever(handle_exit=True)


main()

//! FTPS: real clients under TLS, explicit and implicit.
use crate::{
    daemon::{Daemon, PASSWORD, USER, octets},
    ftplib,
    program::{Program, skip},
    tree,
};
use std::path::Path;

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls").join(name).display().to_string()
}

fn start(name: &str, more: &str) -> Daemon {
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let settings = format!(
        "listen_ftps = [\"127.0.0.1:0\"]\n[tls]\ncertfile = {certificate:?}\nkeyfile = {key:?}\ntls_control_required = true\n\
         tls_data_required = true\n{more}"
    );
    Daemon::start_with(name, &["127.0.0.1:0"], &settings)
}

#[test]
fn curl_under_tls() {
    let daemon = start("curl_under_tls", "");
    let Some(curl) = Program::find("curl") else { return };
    let contents = octets(3_000_000, 1);
    daemon.serve("down", &contents);
    let upload = daemon.prepare("up", &contents);
    daemon.prepare("empty", "");
    let [explicit, implicit] = [daemon.url(""), daemon.implicit_url("")];
    for (url, number) in [(&explicit, 0), (&implicit, 1)] {
        for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let run = |args: &[&str]| {
                let authority = file("authority.pem");
                let common = ["--silent", "--show-error", "--max-time", "50", "--ssl-reqd", "--cacert", &authority];
                curl.run(&daemon).args(common).args(version).args(args).ok()
            };
            assert!(run(&[&format!("{url}down")]).stdout == contents, "a download by {url}");
            let stored = format!("stored{number}");
            run(&["--upload-file", upload.to_str().expect("a path in UTF-8"), &format!("{url}{stored}")]);
            assert!(std::fs::read(daemon.home().join(&stored)).expect("an upload") == contents, "an upload by {url}");
            run(&["--upload-file", "empty", &format!("{url}empty")]);
            assert_eq!(run(&[&format!("{url}empty")]).stdout, b"");
            assert!(run(&["--list-only", url]).lines().contains(&stored));
        }
    }
    // Whoever does not know the authority does not go on, and the server does.
    let refused = curl.run(&daemon).args(["--silent", "--ssl-reqd", "--max-time", "50", &explicit]).outcome();
    assert_eq!(refused.status, Some(60), "{refused}");
    let clear = curl.run(&daemon).args(["--silent", "--max-time", "50", &explicit]).outcome();
    assert_eq!(clear.status, Some(67), "{clear}");
}

/// Browsers and the like that are led here get no more than the greeting, and nothing of what they said back.
#[test]
fn clients_of_other_protocols_are_cut_off() {
    let daemon = start("clients_of_other_protocols_are_cut_off", "");
    let greeting = b"220 wharf ready.\r\n";
    let explicit = format!("127.0.0.1:{}", daemon.port());
    let implicit = daemon.implicit_url("").trim_end_matches('/').rsplit('@').next().expect("an address").to_owned();
    if let Some(curl) = Program::find("curl") {
        let run = |args: &[&str]| {
            let authority = file("authority.pem");
            let common = ["--silent", "--show-error", "--max-time", "50", "--http0.9", "--cacert", &authority];
            curl.run(&daemon).args(common).args(args).outcome()
        };
        for more in [&[][..], &["--data", "USER user\r\nPASS x\r\n"], &["--upload-file", "-"], &["--http2-prior-knowledge"]] {
            let outcome = run(&[&[&*format!("http://{explicit}/x")], more].concat());
            // It takes the greeting for an answer; 28 is a timeout.
            assert!(outcome.stdout.is_empty() || outcome.stdout == greeting, "{outcome}");
            assert_ne!(outcome.status, Some(28), "{outcome}");
        }
        let clear = run(&[&format!("https://{explicit}/x")]);
        assert!(clear.stdout.is_empty() && clear.status == Some(35), "{clear}");
        for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            // By ALPN they say what they want, and are turned away in the handshake.
            for protocol in ["--http1.1", "--http2"] {
                let outcome = run(&[&[protocol, &*format!("https://{implicit}/x")], version].concat());
                assert!(outcome.stdout.is_empty() && outcome.status == Some(35), "{outcome}");
            }
            let outcome = run(&[&["--no-alpn", &*format!("https://{implicit}/x")], version].concat());
            assert!(outcome.stdout == greeting, "{outcome}");
        }
    }
    if let Some(ssh) = Program::find("ssh") {
        let port = daemon.port().to_string();
        let outcome = ssh.run(&daemon).args(["-v", "-F", "none", "-o", "BatchMode=yes", "-p", &port, "127.0.0.1"]).outcome();
        assert_eq!(outcome.status, Some(255), "{outcome}");
        let log = outcome.all();
        assert!(log.contains("220 wharf ready.") && !log.contains("500 "), "{outcome}");
    }
}

/// curl says a close_notify before it goes on in clear text, or waits for the server's and says none.
#[test]
fn curl_goes_back_to_clear_text() {
    let certificates =
        format!("[tls]\ncertfile = {:?}\nkeyfile = {:?}\npermit_ccc = true\n", file("server.pem"), file("server.key"));
    let daemon = Daemon::start_with("curl_goes_back_to_clear_text", &["127.0.0.1:0"], &certificates);
    let Some(curl) = Program::find("curl") else { return };
    daemon.serve("down", "content");
    let authority = file("authority.pem");
    for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        for mode in ["active", "passive"] {
            let run =
                curl.run(&daemon).args(["--silent", "--show-error", "--max-time", "50", "--ssl-reqd", "--cacert", &authority]);
            let run = run.args(version).args(["--ftp-ssl-ccc", "--ftp-ssl-ccc-mode", mode]).args([daemon.url("down")]);
            assert_eq!(run.ok().stdout, b"content", "{mode}");
        }
    }
}

/// Data connections that resume nothing are refused: these clients resume.
#[test]
fn clients_resume_where_they_must() {
    let daemon = start("clients_resume_where_they_must", "tls_session_reuse_required = true\n");
    daemon.serve("down", "content");
    if let Some(curl) = Program::find("curl") {
        let authority = file("authority.pem");
        for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let run = curl.run(&daemon).args(["--silent", "--show-error", "--ssl-reqd", "--cacert", &authority]).args(version);
            assert_eq!(run.args([daemon.url("down")]).ok().stdout, b"content");
        }
    }
    tree::plant(&daemon.home().join("served"), 40);
    if mirror(&daemon, "mirror served got").is_some() {
        tree::assert_same(&daemon.home().join("served"), &daemon.work().join("got"), true, true);
    }
}

fn mirror(daemon: &Daemon, command: &str) -> Option<()> {
    let script = format!(
        "set cmd:fail-exit yes\nset ftp:ssl-force yes\nset ftp:ssl-protect-data yes\nset ftp:ssl-protect-list yes\n\
         set ssl:ca-file {}\nset ssl:check-hostname no\nset net:timeout 20\nset net:max-retries 2\n\
         open -u {USER},{PASSWORD} -p {} 127.0.0.1\n{command}\nbye\n",
        file("authority.pem"),
        daemon.port()
    );
    let script = daemon.prepare(".script", script);
    Program::find("lftp")?.run(daemon).args(["--norc".as_ref(), "-f".as_ref(), script.as_os_str()]).ok();
    Some(())
}

#[test]
fn lftp_mirrors_under_tls() {
    let daemon = start("lftp_mirrors_under_tls", "");
    let (served, got) = (daemon.home().join("served"), daemon.work().join("got"));
    tree::plant(&served, 200);
    if mirror(&daemon, "mirror served got").is_none() {
        return;
    }
    tree::assert_same(&served, &got, true, true);
    mirror(&daemon, "mirror --reverse --parallel=3 got stored");
    tree::assert_same(&got, &daemon.home().join("stored"), true, true);
    // Where the server connects, the client is still the one of TLS. (curl of 7.87 and 7.88 has that wrong: curl issue 10666.)
    mirror(&daemon, "set ftp:passive-mode no\nmirror served active\nmirror --reverse active actively");
    tree::assert_same(&served, &daemon.work().join("active"), true, true);
    tree::assert_same(&served, &daemon.home().join("actively"), true, true);
}

/// Plain Python resumes nothing, and closes as it likes.
#[test]
fn ftplib_under_tls() {
    let daemon = start("ftplib_under_tls", "strict_close = false\n");
    ftplib::check(&daemon, "127.0.0.1", "under_tls");
}

/// Node's basic-ftp, if it is in the folder that `WHARF_NODE_MODULES` names.
#[test]
fn basic_ftp_under_tls() {
    let Some(modules) = std::env::var_os("WHARF_NODE_MODULES") else {
        return skip("WHARF_NODE_MODULES names no folder with basic-ftp");
    };
    let Some(node) = Program::find("node") else { return };
    let module = Path::new(&modules).join("basic-ftp");
    let daemon = start("basic_ftp_under_tls", "");
    daemon.prepare("local.bin", octets(2_000_000, 5));
    daemon.prepare("small", octets(1000, 6));
    daemon.prepare("empty", "");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/basic_ftp_checks.js");
    for version in ["TLSv1.2", "TLSv1.3"] {
        for (mode, url) in [("explicit", daemon.url("")), ("implicit", daemon.implicit_url(""))] {
            let port = url.trim_end_matches('/').rsplit(':').next().expect("a port").to_owned();
            let run = node.run(&daemon).args([script.as_os_str(), module.as_os_str()]);
            run.args(["127.0.0.1", &port, mode, version, &file("authority.pem"), USER, PASSWORD]).ok();
        }
    }
}

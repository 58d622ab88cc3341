//! Who may log in under TLS, and what must be protected then.
use super::*;
use crate::server::{tree, users};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use wharf::{
    proto::job::Login,
    server::{
        auth::{Account, Authorizer, Denied, Password, User, UserTable},
        fs::Memory,
    },
};

with_each_engine! {
    [in clear]
    users_with_a_certificate_need_no_password
    downgrade_users_who_must_be_under_tls_get_nothing_without
    data_connections_are_protected_however_they_come_about
}

/// Lets `user` in by a certificate.
struct ByCertificate(UserTable);

impl Authorizer for ByCertificate {
    fn authenticate(&self, login: &Login) -> Result<Account, Denied> {
        self.0.authenticate(login)
    }

    fn identify(&self, login: &Login) -> Option<Account> {
        let own = CertificateDer::from_pem_slice(tls::CLIENT.0).unwrap();
        let known = login.user == "user" && login.certificates.first().is_some_and(|shown| own == shown[..].into());
        let mut proved = Login::new("user", b"12345".to_vec(), login.peer, login.local);
        proved.tls = login.tls;
        known.then(|| self.0.authenticate(&proved).unwrap())
    }
}

fn users_with_a_certificate_need_no_password(engine: Engine) {
    let server = server_with(engine, |options| {
        let tls = tls::server_tls().client_ca(tls::file("authority.pem"), ClientCertificates::Optional);
        options.tls = Some(tls.build().unwrap());
        options.authorizer = Some(Arc::new(ByCertificate(users(Arc::new(Memory::new(tree())), (0, 0)))));
    });
    for mode in MODES {
        let mut secure = Secure::connect_as(server.address(), client_config_with(mode, tls::CLIENT));
        // It is nobody else's.
        secure.say("USER other", 331);
        secure.say("USER user", 232);
        for (line, code) in [("PASS 12345", 503), ("PBSZ 0", 200), ("PROT P", 200), ("TYPE I", 200)] {
            secure.say(line, code);
        }
        secure.assert_works();
        // Whoever has none is asked for the password.
        Secure::login(&server, mode).assert_works();
    }
    let mut clear = Client::connect(server.address());
    clear.say("USER user", 331);
    clear.say("PASS 12345", 230);
}

fn downgrade_users_who_must_be_under_tls_get_nothing_without(engine: Engine) {
    let server = server_with(engine, |options| {
        options.config.tls.permit_ccc = true;
        let files = Arc::new(Memory::new(tree()));
        let table = UserTable::new();
        for (name, required) in [("user", true), ("other", false)] {
            let user = User::new(name, Password::plain("12345"), files.clone()).with_tls_required(required);
            table.add(user).unwrap();
        }
        options.authorizer = Some(Arc::new(table));
    });
    let mut clear = Client::connect(server.address());
    clear.say("USER user", 331);
    clear.say("PASS 12345", 534);
    clear.say("PWD", 530);
    // The others as ever.
    clear.say("USER other", 331);
    clear.say("PASS 12345", 230);
    let mut secure = Secure::login(&server, NEW);
    secure.say("PROT C", 200);
    for (set_up, code) in [("EPSV", 229), ("PASV", 227), ("PORT 127,0,0,1,200,10", 200), ("EPRT |1|127.0.0.1|51210|", 200)] {
        secure.say(set_up, code);
        secure.say("LIST", 521);
        secure.say("RETR text", 521);
    }
    secure.say("CCC", 534);
    secure.say("PROT P", 200);
    secure.assert_works();
}

fn data_connections_are_protected_however_they_come_about(engine: Engine) {
    let server = server_with(engine, |options| options.config.tls.data_required = true);
    for mode in MODES {
        for resume in [true, false] {
            let mut secure = Secure::login(&server, Mode { resume, ..mode });
            let content = noise(100_000);
            for set_up in ["EPSV", "PASV", "PORT", "EPRT"] {
                let begin = |secure: &mut Secure, command: &str| {
                    let stream = match set_up {
                        "EPSV" => {
                            let data = secure.dial();
                            secure.say(command, 150);
                            data
                        }
                        "PASV" => {
                            let text = secure.say("PASV", 227);
                            let numbers = text.split(['(', ')']).nth(1).unwrap().split(',');
                            let numbers: Vec<u8> = numbers.map(|number| number.parse().unwrap()).collect();
                            let data = dial_data(([127, 0, 0, 1], u16::from_be_bytes([numbers[4], numbers[5]])).into());
                            secure.say(command, 150);
                            data
                        }
                        _ => {
                            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                            let port = listener.local_addr().unwrap().port();
                            let [high, low] = port.to_be_bytes();
                            match set_up {
                                "PORT" => secure.say(&format!("PORT 127,0,0,1,{high},{low}"), 200),
                                _ => secure.say(&format!("EPRT |1|127.0.0.1|{port}|"), 200),
                            };
                            secure.say(command, 150);
                            listener.accept().unwrap().0
                        }
                    };
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    // The client is the one of TLS, whoever connects.
                    client(&secure.config, stream)
                };
                let mut data = begin(&mut secure, "STOR new");
                data.write_all(&content).unwrap();
                data.conn.send_close_notify();
                data.flush().unwrap();
                secure.expect(226);
                let mut received = Vec::new();
                begin(&mut secure, "RETR new").read_to_end(&mut received).expect("data to its end");
                secure.expect(226);
                assert!(received == content, "{set_up}");
            }
        }
    }
}

#[cfg(feature = "deflate")]
mod compressed {
    use super::*;
    use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib};

    with_each_engine! {
        [in clear]
        compressed_text_goes_both_ways
    }

    /// MODE Z, TYPE A and PROT P: each does its part, in the right order.
    fn compressed_text_goes_both_ways(engine: Engine) {
        let server = server(engine);
        let lines: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
        let wire = lines.replace('\n', "\r\n");
        for mode in MODES {
            let mut secure = Secure::login(&server, mode);
            secure.say("TYPE A", 200);
            secure.say("MODE Z", 200);
            let mut data = secure.begin("STOR new");
            data.write_all(&compress_to_vec_zlib(wire.as_bytes(), 6)).unwrap();
            data.conn.send_close_notify();
            data.flush().unwrap();
            secure.expect(226);
            assert!(server.stored("new").is_some_and(|stored| stored == lines.as_bytes()));
            let received = secure.retrieve("RETR new");
            assert!(received.len() < wire.len() / 2);
            assert!(decompress_to_vec_zlib(&received).is_ok_and(|received| received == wire.as_bytes()));
            let listing = decompress_to_vec_zlib(&secure.retrieve("LIST")).expect("a stream of zlib");
            assert!(listing.ends_with(b"zeros\r\n"));
            // A stream that is cut off is none, close_notify or not.
            let mut data = secure.begin("STOR cut");
            let whole = compress_to_vec_zlib(wire.as_bytes(), 6);
            data.write_all(&whole[..whole.len() / 2]).unwrap();
            data.conn.send_close_notify();
            data.flush().unwrap();
            let mut reply = [0; 512];
            let octets = secure.control.read(&mut reply).unwrap();
            assert!(!reply.starts_with(b"226"), "{}", reply[..octets].escape_ascii());
        }
    }
}

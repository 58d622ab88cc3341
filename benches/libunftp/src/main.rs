//! libunftp behind the daemon's command line: `--config FILE`. It lets everybody in, and is told of its listener and its folder.
use libunftp::ServerBuilder;
use std::{env, error::Error, fs, net::TcpListener, path::PathBuf, time::Duration};
use tokio::{net::TcpStream, time};
use toml::Table;
use unftp_sbe_fs::Filesystem;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args().skip_while(|argument| argument != "--config").nth(1).ok_or("--config FILE")?;
    let config: Table = fs::read_to_string(file)?.parse()?;
    let listen = config["listen"][0].as_str().ok_or("listen")?;
    let home = PathBuf::from(config["user"][0]["home"].as_str().ok_or("home")?);
    // It does not say at which port it listens.
    let address = TcpListener::bind(listen)?.local_addr()?;
    let server = ServerBuilder::new(Box::new(move || Filesystem::new(home.clone()).expect("there is a home")))
        .idle_session_timeout(3600)
        .passive_ports(32768..=60999)
        .build()?;
    tokio::spawn(async move {
        while TcpStream::connect(address).await.is_err() {
            time::sleep(Duration::from_millis(10)).await;
        }
        println!("listening on {address}");
    });
    Ok(server.listen(address.to_string()).await?)
}

//! Whoever reads a header of the PROXY protocol in the pieces that it needs stops at its end, wherever it stops; what it has read
//! until then was no whole header, and with any octet more it would be none.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::proto::{
    network::Network,
    proxy::{LONGEST, Progress, read},
};

fuzz_target!(|data: &[u8]| {
    let mut octets = 0;
    while let Ok(progress) = read(&data[..octets]) {
        match progress {
            Progress::Needs(more) => {
                assert!(more > 0 && octets + more <= LONGEST);
                for less in octets..(octets + more).min(data.len()) {
                    assert!(!matches!(read(&data[..less]), Ok(Progress::Done(_))), "it is whole before it has what it needs");
                }
                octets += more;
                if octets > data.len() {
                    break;
                }
            }
            Progress::Done(_) => {
                assert!(octets == data.len() || read(&data[..=octets]).is_err());
                break;
            }
        }
    }
    if let Some(network) = str::from_utf8(data).ok().and_then(|text| text.parse::<Network>().ok()) {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
});

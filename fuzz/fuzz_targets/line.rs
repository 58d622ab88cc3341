//! Every line that a user sends, of whatever octets, has one well-formed final reply, in order; a server that closes says so by
//! an event, and says nothing afterwards.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::{Output, Reason};

#[path = "../../tests/support/dialogue.rs"]
mod dialogue;
#[path = "../../tests/support/driver.rs"]
mod driver;

/// What fits into a session before a job must be done, and the limit of a line.
const MOST: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let login: &[u8] = b"USER alice\r\nPASS secret\r\n";
    let octets = [login, &data[..data.len().min(MOST)]].concat();
    let lines = dialogue::Reader::new(MOST).push(&octets);
    let trace = driver::drive(&octets, || usize::MAX);
    let mut replies = trace.replies;
    let codes = dialogue::take_replies(&mut replies);
    assert!(replies.is_empty(), "a part of a reply is left");
    let finals = codes.iter().filter(|code| **code >= 200).count();
    let reason = trace.outputs.iter().find_map(|output| match output {
        Output::Close(reason) => Some(*reason),
        _ => None,
    });
    match reason {
        // The greeting is the first. A transfer in progress is lost with the connection.
        Some(Reason::Eof) => assert_eq!(finals, lines.len() + 1, "{codes:?} to {lines:?}"),
        Some(Reason::Quit | Reason::NotFtp) => assert!(finals <= lines.len() + 1, "{codes:?} to {lines:?}"),
        other => panic!("the end is {other:?}"),
    }
});

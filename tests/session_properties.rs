//! What holds of a session for every input.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "support/dialogue.rs"]
mod dialogue;
#[path = "support/driver.rs"]
mod driver;

use dialogue::{Reader, take_replies};
use proptest::{collection::vec, prelude::*, sample::select};
use wharf::proto::command::Verb;

/// The limit of a line in `Config::default`.
const LINE: usize = 4096;
const LOGIN: &[u8] = b"USER alice\r\nPASS secret\r\n";

/// What clients send, what they could send, and what nobody should.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let octets = || vec(any::<u8>().prop_filter("the end of a line", |octet| *octet != b'\n'), 0..40);
    let arguments =
        select(vec!["", " ", " pub", " a.txt", " 5", " ALL", " 127,0,0,1,9,9", " 20240101000000 a.txt", " |1|192.0.2.2|4000|"]);
    let verb = || select(Verb::ALL).prop_map(|verb| verb.name().as_bytes().to_vec());
    prop_oneof![
        6 => (verb(), arguments).prop_map(|(verb, argument)| [&verb, argument.as_bytes()].concat()),
        2 => (verb(), octets()).prop_map(|(verb, argument)| [&verb, b" " as &[u8], &argument].concat()),
        1 => octets(),
        1 => (LINE - 2..LINE + 3).prop_map(|length| vec![b'x'; length]),
    ]
}

fn is_quit(line: &dialogue::Line) -> bool {
    line.verb() == "QUIT" && line.octets[4..].iter().all(|octet| *octet == b' ')
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// RFC 1123 section 4.1.2.10: nothing depends on where segments end.
    #[test]
    fn segments_mean_nothing(lines in vec(line(), 0..12), logged_in: bool, pieces in vec(1_usize..40, 1..20)) {
        let mut octets = if logged_in { LOGIN.to_vec() } else { Vec::new() };
        lines.iter().for_each(|line| octets.extend([line as &[u8], b"\r\n"].concat()));
        // What is beyond the capacity waits at the client, and an ABOR with it.
        octets.truncate(LINE);
        let whole = driver::drive(&octets, || usize::MAX);
        prop_assert_eq!(&driver::drive(&octets, || 1), &whole);
        let mut pieces = pieces.iter().cycle();
        prop_assert_eq!(&driver::drive(&octets, || *pieces.next().expect("it has no end")), &whole);
    }

    /// One final reply to each line, whatever is in it, with at most one 1yz before it; each well-formed (which `take_replies`
    /// sees to).
    #[test]
    fn every_line_has_one_final_reply(line in line(), set_up: bool) {
        let setup: &[u8] = if set_up { b"EPSV\r\n" } else { b"" };
        let octets = [LOGIN, setup, &line, b"\r\nNOOP\r\n"].concat();
        let mut lines = Reader::new(LINE).push(&octets);
        let quits = lines.iter().position(is_quit);
        lines.truncate(quits.map_or(lines.len(), |quit| quit + 1));
        let mut replies = driver::drive(&octets, || usize::MAX).replies;
        let codes = take_replies(&mut replies);
        prop_assert!(replies.is_empty(), "a part of a reply: {:?}", replies);
        let finals = codes.iter().filter(|code| **code >= 200).count();
        // The greeting is the first.
        prop_assert_eq!(finals, lines.len() + 1, "{:?} to {:?}", codes, lines);
        prop_assert!(codes.len() <= finals + 1, "{:?}", codes);
        // A negotiation of Telnet that does not end takes the NOOP in.
        if let Some(last) = lines.last().filter(|last| quits.is_some() || last.verb() == "NOOP") {
            prop_assert_eq!(*codes.last().expect("a greeting"), if quits.is_some() { 221 } else { 200 }, "{:?}", last);
        }
    }

    /// The same before any login, where most is 530 and no job is started at all.
    #[test]
    fn nothing_is_done_before_a_login(line in line()) {
        let octets = [&line, b"\r\n" as &[u8]].concat();
        let trace = driver::drive(&octets, || usize::MAX);
        let mut replies = trace.replies;
        let codes = take_replies(&mut replies);
        let read = Reader::new(LINE).push(&octets);
        for (line, code) in read.iter().zip(&codes[1..]) {
            let welcome = dialogue::works_before_login(line);
            prop_assert!(*code == 500 || line.too_long || welcome != (*code == 530), "{} to {:?}", code, line);
        }
        let started = trace.outputs.iter().any(|output| matches!(output, wharf::Output::Start(..)));
        prop_assert!(!started, "{:?}", trace.outputs);
    }
}

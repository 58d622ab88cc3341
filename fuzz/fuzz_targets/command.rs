//! A command line is taken apart without loss: its verb is the one whose name stands there in some case, or none; its argument is
//! everything behind the space that ends the verb; and what `Debug` shows of it holds nothing of the argument.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::proto::command::{Command, Verb};

/// What a verb is by reading the table from end to end, and what is left of the line.
fn by_table(line: &[u8]) -> (Option<Verb>, &[u8]) {
    let named = |verb: &&Verb| {
        let name = verb.name().as_bytes();
        let head = line.get(..name.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(name)) && matches!(line.get(name.len()), None | Some(b' '))
    };
    // `SITE CHMOD` rather than `SITE`.
    let verb = Verb::ALL.iter().filter(named).max_by_key(|verb| verb.name().len());
    let end = match verb {
        Some(verb) => verb.name().len(),
        None => line.iter().position(|octet| *octet == b' ').unwrap_or(line.len()),
    };
    (verb.copied(), line.get(end + 1..).unwrap_or_default())
}

fuzz_target!(|line: &[u8]| {
    let command = Command::parse(line);
    let (verb, argument) = by_table(line);
    assert_eq!(command.verb, verb, "{}", line.escape_ascii());
    assert_eq!(command.argument, argument, "{}", line.escape_ascii());
    assert_eq!(format!("{command:?}"), format!("Command({verb:?}, {} octets)", argument.len()));
});

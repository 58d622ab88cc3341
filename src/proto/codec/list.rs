//! Lines of LIST and NLST.
use crate::proto::{file::Entry, time::UnixTime};
use alloc::vec::Vec;

/// What a listing needs to know of the time.
#[derive(Clone, Copy, Debug)]
pub struct ListClock {
    /// The present, for the six-month rule.
    pub now: UnixTime,
    /// How many seconds the zone that dates are shown in is ahead of UTC at a moment; `None` shows UTC.
    pub offset: Option<fn(UnixTime) -> i32>,
}

/// Appends the line of `ls -l` for `entry`, with its CR LF; nothing if its name holds CR or LF, which would forge a line.
pub fn write_long(entry: &Entry, clock: &ListClock, output: &mut Vec<u8>) {
    let _ = (entry, clock, output);
    todo!("codecs")
}

/// Appends the line of NLST: `prefix`, the name, CR LF; nothing if the name holds CR or LF.
pub fn write_name(prefix: &[u8], name: &[u8], output: &mut Vec<u8>) {
    let _ = (prefix, name, output);
    todo!("codecs")
}

//! The smallest server: whoever comes reads the same few files, which are kept in memory.
fn main() {}

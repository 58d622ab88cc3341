//! Uses the core of Wharf as firmware would: with an allocator and a panic handler of its own, and without `std`. If anything
//! in the graph of dependencies linked `std` after all, rustc would find two panic handlers (E0152) and fail.
#![no_std]

extern crate alloc;

use alloc::{sync::Arc, vec::Vec};
use core::alloc::{GlobalAlloc, Layout};
use core::net::SocketAddr;
use wharf::proto::{config::Config, time::Instant};
use wharf::{Connection, Input, Session};

/// It is built, never run: there is nothing to allocate from.
struct NoMemory;

unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static NO_MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Reaches all of the session, so that none of it is left out of the proof.
#[unsafe(no_mangle)]
pub extern "C" fn answer(octet: u8) -> usize {
    let end = SocketAddr::from(([127, 0, 0, 1], 21));
    let mut session = Session::new(Arc::new(Config::default()), Connection::new(end, end), Instant::ZERO);
    let mut outputs = Vec::new();
    while let Some(output) = session.poll() {
        outputs.push(output);
    }
    session.handle(Instant::ZERO, Input::Bytes(&[octet]));
    let _ = session.poll_timeout();
    session.capacity() + session.unsent().len() + outputs.len()
}

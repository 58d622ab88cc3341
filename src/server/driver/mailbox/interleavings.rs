//! The mailbox, in many of the orders in which a task and those who write to it may go on.
use super::*;
use alloc::sync::Arc;
use core::{future::poll_fn, task::Poll};
use shuttle::{
    future::block_on,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

#[test]
fn a_task_gets_all_its_mail_and_every_wish() {
    let check = || {
        let (mailbox, wish) = (Arc::new(Mailbox::default()), Arc::new(AtomicBool::new(false)));
        let writers = [(); 2].map(|()| {
            let mailbox = mailbox.clone();
            thread::spawn(move || mailbox.put(Mail::Panicked))
        });
        let handle = {
            let (mailbox, wish) = (mailbox.clone(), wish.clone());
            thread::spawn(move || {
                wish.store(true, Ordering::SeqCst);
                mailbox.wake();
            })
        };
        let mut got = 0;
        block_on(poll_fn(|context| {
            got += mailbox.take(context).0.len();
            // Looked at after the mailbox knows whom to wake, as a task does with its order.
            if got == 2 && wish.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        }));
        mailbox.close();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        handle.join().unwrap();
    };
    shuttle::check_random(check, 2500);
}

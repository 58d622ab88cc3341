use super::*;
use crate::{
    proto::{config::Config, job::Login},
    server::{
        Settings,
        auth::{Account, Authorizer, Denied, UserTable},
    },
};
use alloc::task::Wake;
use core::sync::atomic::{AtomicUsize, Ordering};

impl Shared {
    pub(in crate::server) fn without_listener() -> Arc<Self> {
        let setup = Setup {
            config: Arc::new(Config::default()),
            settings: Settings::default(),
            authorizer: Arc::new(UserTable::new()),
            tls: None,
        };
        let (_, accepting) = std::io::pipe().unwrap();
        Arc::new(Self::new(setup, Vec::new(), Hooks::default(), Limits::default(), Some(accepting)))
    }

    /// All clients come to it through a proxy on this host.
    pub(in crate::server) fn behind_a_proxy() -> Arc<Self> {
        let shared = Self::without_listener();
        shared.replace_setup(|setup| {
            let mut settings = setup.settings.clone();
            settings.proxy_protocol_from = alloc::vec!["127.0.0.0/8".parse().unwrap()];
            Setup { config: setup.config.clone(), settings, authorizer: setup.authorizer.clone(), tls: None }
        });
        shared
    }

    pub(super) fn join_nobody(self: &Arc<Self>, wake: impl Fn() + Send + Sync + 'static) -> Option<Membership> {
        let address = SocketAddr::from(([127, 0, 0, 1], 21));
        self.join(address, address, address, Box::new(wake))
    }
}

/// A waker whose runtime looks at the server at once.
struct Curious(Arc<Shared>, AtomicUsize);

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        assert!(self.0.state.try_lock().is_ok(), "the registry is locked while a task is woken");
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whoever may log in, until all is looked at that goes on.
struct Parting(Arc<Shared>, Arc<AtomicUsize>);

impl Authorizer for Parting {
    fn authenticate(&self, _: &Login) -> Result<Account, Denied> {
        Err(Denied(None))
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        assert!(self.0.state.try_lock().is_ok(), "the registry is locked while an authorizer ends");
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn authorizers_end_without_a_lock() {
    let (shared, ended) = (Shared::without_listener(), Arc::default());
    let change = |authorizer: Arc<dyn Authorizer>| {
        shared.replace_setup(|setup| Setup {
            config: setup.config.clone(),
            settings: setup.settings.clone(),
            authorizer,
            tls: None,
        });
    };
    change(Arc::new(Parting(shared.clone(), Arc::clone(&ended))));
    assert_eq!(ended.load(Ordering::Relaxed), 0);
    change(Arc::new(UserTable::new()));
    assert_eq!(ended.load(Ordering::Relaxed), 1);
}

#[test]
fn tasks_are_woken_without_a_lock() {
    let wakes = |stop: fn(&Shared)| {
        let shared = Shared::without_listener();
        let member = shared.join_nobody(|| {}).unwrap();
        let curious = Arc::new(Curious(shared.clone(), AtomicUsize::new(0)));
        let waker = curious.clone().into();
        let context = Context::from_waker(&waker);

        assert!(shared.poll_stop(&context).is_pending());
        stop(&shared);
        assert!(shared.poll_stop(&context).is_ready() && shared.poll_end(&context).is_pending());
        drop(member);
        assert!(shared.poll_end(&context).is_ready());
        curious.1.load(Ordering::Relaxed)
    };
    assert_eq!(wakes(Shared::stop_accepting), 2);
    assert_eq!(wakes(|shared| shared.end(Order::Cut)), 2);
}

#[test]
fn who_was_accepted_too_late_is_not_taken_in() {
    for stop in [Shared::stop_accepting, |shared: &Shared| shared.end(Order::Drain(Instant::NEVER))] {
        let shared = Shared::without_listener();
        let member = shared.join_nobody(|| {}).unwrap();
        stop(&shared);
        assert!(shared.join_nobody(|| {}).is_none(), "nobody would wait for its end");
        assert_eq!(member.shared().count(), 1);
    }
}

//! SIGTERM and SIGINT: the first asks the service to drain and leave, the second ends it at once.
//!
//! Signals are received on a thread of their own, so that the second one ends the process even
//! while the service's threads are busy or stuck.

use std::io;
use std::sync::mpsc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What asked for the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGINT, as from Ctrl-C.
    Interrupt,
    /// SIGTERM, as from an orchestrator.
    Terminate,
    /// The service itself, through a [`Trigger`].
    Service,
}

impl Cause {
    /// The exit code of a process that this ends at once: 128 + the signal's number.
    fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::Service => 1,
        }
    }
}

/// Tells that the service shall leave. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Shutdown {
    cause: watch::Receiver<Option<Cause>>,
}

/// Asks for the shutdown from inside the process. Clones ask the same.
#[derive(Debug, Clone)]
pub struct Trigger {
    cause: watch::Sender<Option<Cause>>,
}

impl Shutdown {
    /// A shutdown that no signal asks for, for tests and for parts of a service.
    pub fn manual() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(None);
        (Trigger { cause: sender }, Self { cause: receiver })
    }

    /// What asked for the shutdown; `None` as long as nothing did.
    pub fn cause(&self) -> Option<Cause> {
        *self.cause.borrow()
    }

    /// Whether the service shall leave.
    pub fn requested(&self) -> bool {
        self.cause().is_some()
    }

    /// Waits until the service shall leave. May be dropped and called again at any time.
    pub async fn wait(&self) -> Cause {
        let mut cause = self.cause.clone();
        let requested = cause.wait_for(Option::is_some).await.ok().and_then(|cause| *cause);
        match requested {
            Some(cause) => cause,
            // Every trigger is gone: nothing can ask any more.
            None => std::future::pending().await,
        }
    }
}

impl Trigger {
    /// Asks the service to leave; what asked first stays the cause.
    pub fn fire(&self) {
        self.set(Cause::Service);
    }

    fn set(&self, by: Cause) {
        self.cause.send_if_modified(|cause| {
            let first = cause.is_none();
            cause.get_or_insert(by);
            first
        });
    }
}

/// Listens for SIGTERM and SIGINT from the moment it returns.
///
/// The first signal fires the returned [`Shutdown`]; a second one ends the process with 130
/// (SIGINT) or 143 (SIGTERM). Fails if the handlers can't be installed.
pub fn listen() -> io::Result<Shutdown> {
    let (trigger, shutdown) = Shutdown::manual();
    let (installed, outcome) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("signals".to_string())
        .spawn(move || receive(&trigger, &installed))?;
    outcome.recv().map_err(|_| {
        io::Error::other("the signal thread ended before it installed its handlers")
    })??;
    Ok(shutdown)
}

fn receive(trigger: &Trigger, installed: &mpsc::SyncSender<io::Result<()>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(installed, Err(error)),
    };
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
                (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
                (Err(error), _) | (_, Err(error)) => return report(installed, Err(error)),
            };
        report(installed, Ok(()));
        loop {
            let cause = tokio::select! {
                _ = terminate.recv() => Cause::Terminate,
                _ = interrupt.recv() => Cause::Interrupt,
            };
            if trigger.cause.borrow().is_some() {
                tracing::warn!(?cause, "second signal: leaving at once");
                std::process::exit(cause.exit_code());
            }
            tracing::info!(?cause, "shutdown requested: draining, a second signal ends at once");
            trigger.set(cause);
        }
    });
}

/// Tells [`listen`] how it went; if `listen` is gone, nobody needs to know.
fn report(installed: &mpsc::SyncSender<io::Result<()>>, outcome: io::Result<()>) {
    installed.send(outcome).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use super::*;

    #[tokio::test]
    async fn the_first_to_ask_is_the_cause() {
        let (trigger, shutdown) = Shutdown::manual();
        assert_eq!(shutdown.cause(), None);
        trigger.set(Cause::Terminate);
        trigger.fire();
        assert_eq!(shutdown.wait().await, Cause::Terminate);
        assert_eq!(shutdown.clone().wait().await, Cause::Terminate);
    }

    #[tokio::test]
    async fn waiting_starts_before_the_request() {
        let (trigger, shutdown) = Shutdown::manual();
        let waiter = tokio::spawn(async move { shutdown.wait().await });
        tokio::task::yield_now().await;
        trigger.fire();
        assert_eq!(waiter.await.unwrap(), Cause::Service);
    }
}

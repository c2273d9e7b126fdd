//! The open connections of the admin server: so many at most, and whoever comes finds room.
//!
//! When all places are taken, the connection that has been open longest has to go: of those whose
//! request is not being answered, such as clients that send nothing or read nothing, while these are
//! at least half. So clients that hold connections can't keep others out.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::metrics::{Metrics, MetricsError};

/// Open connections.
pub(super) const CONNECTIONS_MAX: usize = 128;
/// How long a connection is safe: time for an honest client to send its request and read the
/// answer. At least half of [`CONNECTIONS_MAX`] can be given anew in that time, whatever clients do.
const SAFE_AGE: Duration = Duration::from_millis(200);

/// What the metrics tell of connections.
#[derive(Debug)]
pub(super) struct ConnectionMetrics {
    open: IntGauge,
    evicted: IntCounter,
}

impl ConnectionMetrics {
    pub(super) fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let service = metrics.service();
        Ok(Self {
            open: metrics.int_gauge(
                &format!("{service}_admin_connections"),
                "connections to the admin server that are open",
            )?,
            evicted: metrics.counter(
                &format!("{service}_admin_connections_evicted_total"),
                "connections to the admin server that were closed to make room for others",
            )?,
        })
    }
}

/// How many requests of a connection are being answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Answering(Arc<AtomicUsize>);

impl Answering {
    /// Counts one more until what is returned is dropped.
    pub(super) fn begin(&self) -> impl Drop + use<> {
        struct End(Arc<AtomicUsize>);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        End(Arc::clone(&self.0))
    }

    fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// The connections that are open, each a task.
#[derive(Debug)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    /// The oldest one comes first.
    open: VecDeque<Open>,
    metrics: ConnectionMetrics,
}

#[derive(Debug)]
struct Open {
    since: Instant,
    answering: Answering,
    task: AbortHandle,
}

impl Connections {
    pub(super) fn new(metrics: ConnectionMetrics) -> Self {
        Self { tasks: JoinSet::new(), open: VecDeque::new(), metrics }
    }

    /// Waits for the next client, and makes room for it. Nothing is lost if it is dropped.
    pub(super) async fn accept(&mut self, listener: &TcpListener) -> io::Result<TcpStream> {
        loop {
            let full = self.open.len() >= CONNECTIONS_MAX;
            let safe_until =
                self.first_to_go().map_or_else(Instant::now, |(_, open)| open.since + SAFE_AGE);
            let must_wait = full && Instant::now() < safe_until;
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => {
                    self.forget(ended.map_or_else(|error| error.id(), |(id, ())| id));
                }
                () = sleep_until(safe_until), if must_wait => {}
                accepted = listener.accept(), if !must_wait => {
                    let (stream, _peer) = accepted?;
                    if full {
                        self.evict();
                    }
                    return Ok(stream);
                }
            }
        }
    }

    /// Serves one that was accepted, and lets all others go on: none may grow old because this
    /// thread had no time for it.
    pub(super) async fn serve(
        &mut self,
        answering: Answering,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(connection);
        self.open.push_back(Open { since: Instant::now(), answering, task });
        self.count();
        task::yield_now().await;
    }

    /// The oldest one of those that are not being answered. Where these are few, the oldest of all:
    /// else all who come would have to wait until the few have been safe for long enough.
    fn first_to_go(&self) -> Option<(usize, &Open)> {
        let is_idle = |open: &Open| !open.answering.is_any();
        let idle = self.open.iter().filter(|open| is_idle(open)).count();
        let first =
            if idle < CONNECTIONS_MAX / 2 { Some(0) } else { self.open.iter().position(is_idle) };
        first.and_then(|index| self.open.get(index).map(|open| (index, open)))
    }

    fn evict(&mut self) {
        if let Some((index, open)) = self.first_to_go() {
            open.task.abort();
            self.open.remove(index);
            self.metrics.evicted.inc();
        }
    }

    /// One that was evicted is forgotten already.
    fn forget(&mut self, ended: task::Id) {
        self.open.retain(|open| open.task.id() != ended);
        self.count();
    }

    fn count(&self) {
        self.metrics.open.set(self.open.len() as i64);
    }
}

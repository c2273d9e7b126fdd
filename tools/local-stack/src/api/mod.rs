//! An API that answers as randomuser.me does: with users of its own making or with recorded
//! responses, and with its failures on demand.

mod answer;
mod faults;
mod limit;
mod people;
mod query;
mod replay;
mod spelling;
mod user;
mod vocabulary;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use self::faults::{ApiAction, ApiFault};
use self::limit::Limiter;
pub use self::limit::RateLimit;
use self::query::Wanted;
use self::replay::Replay;
pub use self::replay::ReplayError;
use crate::faults::FaultPlan;
use crate::listen::{PortReservation, loopback};

/// The API's version that is spoken here, and the only one.
const VERSION: &str = "1.4";

/// How the API is set up.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What the seeds of requests without one are made from: the first request after each start
    /// gets the same users, the second one the same others, and so on. `None`: other users always.
    pub seed: Option<String>,
    /// Serves the `*.json` files of this folder, one for each request, instead of generated users.
    pub replay: Option<PathBuf>,
    /// The share of generated users that are not valid, 0 to 1.
    pub invalid_ratio: f64,
    /// Refuses users past this limit; `None`: never.
    pub rate_limit: Option<RateLimit>,
}

impl Default for ApiOptions {
    /// Other valid users with each request, without a limit, on a free port of 127.0.0.1.
    fn default() -> Self {
        Self { listen: loopback(0), seed: None, replay: None, invalid_ratio: 0.0, rate_limit: None }
    }
}

/// Why the API can't start.
#[derive(Debug, thiserror::Error)]
pub enum ApiStartError {
    /// The port can't be had.
    #[error("the API can't listen on {listen}; is another program using the port?")]
    Port {
        /// The address asked for; its port is 0 for any.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The share makes no sense.
    #[error("the ratio of invalid users is {ratio}; it must be between 0 and 1")]
    InvalidRatio {
        /// The ratio asked for.
        ratio: f64,
    },
    /// There is nothing to replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// What the API has answered so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ApiCounts {
    /// Requests by the HTTP status of their answer.
    pub requests: BTreeMap<u16, u64>,
    /// Generated users sent.
    pub users: u64,
}

/// The API. Dropping it ends it at once.
#[derive(Debug)]
pub struct ApiServer {
    url: String,
    shared: Arc<Shared>,
    leave: Arc<Notify>,
    task: JoinHandle<()>,
    _port: PortReservation,
}

#[derive(Debug)]
struct Shared {
    faults: FaultPlan<ApiFault>,
    counts: Mutex<ApiCounts>,
    limiter: Option<Mutex<Limiter>>,
    replay: Option<Replay>,
    seeds: Option<Seeds>,
    invalid_ratio: f64,
}

/// Seeds for requests without one, the same ones after each start.
#[derive(Debug)]
struct Seeds {
    origin: String,
    given: AtomicU64,
}

impl ApiServer {
    /// Starts the API on `runtime`; when it returns, requests are answered.
    pub fn open(options: ApiOptions, runtime: &Handle) -> Result<Self, ApiStartError> {
        let ApiOptions { listen, seed, replay, invalid_ratio, rate_limit } = options;
        if !(0.0..=1.0).contains(&invalid_ratio) {
            return Err(ApiStartError::InvalidRatio { ratio: invalid_ratio });
        }
        let shared = Arc::new(Shared {
            faults: FaultPlan::default(),
            counts: Mutex::default(),
            limiter: rate_limit.map(|limit| Mutex::new(Limiter::new(limit, Instant::now()))),
            replay: replay.as_deref().map(Replay::open).transpose()?,
            seeds: seed.map(|origin| Seeds { origin, given: AtomicU64::new(0) }),
            invalid_ratio,
        });
        let _context = runtime.enter();
        let port_error = |source| ApiStartError::Port { listen, source };
        let reservation = PortReservation::reserve(listen).map_err(port_error)?;
        let listener = reservation.listen().map_err(port_error)?.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY not set");
            }
        });
        let app = router(Arc::clone(&shared));
        let leave = Arc::new(Notify::new());
        let left = Arc::clone(&leave);
        let task = runtime.spawn(async move {
            let server = axum::serve(listener, app);
            if let Err(error) = server.with_graceful_shutdown(left.notified_owned()).await {
                tracing::error!(%error, "the API has ended");
            }
        });
        let url = format!("http://{}/api/", reservation.address());
        Ok(Self { url, shared, leave, task, _port: reservation })
    }

    /// Takes no more requests, and waits no longer than `timeout` for the answers to those that it
    /// has taken.
    pub async fn drain(mut self, timeout: Duration) {
        self.leave.notify_one();
        if tokio::time::timeout(timeout, &mut self.task).await.is_err() {
            tracing::warn!(?timeout, "answers are cut off: they took too long");
        }
    }

    /// The address to ask for users, such as `http://127.0.0.1:41027/api/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What goes wrong next.
    pub fn faults(&self) -> &FaultPlan<ApiFault> {
        &self.shared.faults
    }

    /// What it has answered so far.
    pub fn counts(&self) -> ApiCounts {
        lock(&self.shared.counts).clone()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api", get(serve_users))
        .route("/api/", get(serve_users))
        .route("/api/{version}", get(serve_version))
        .route("/api/{version}/", get(serve_version))
        .route("/healthz", get(StatusCode::OK))
        .fallback(unknown_path)
        .with_state(shared)
}

async fn serve_version(
    state: State<Arc<Shared>>,
    Path(version): Path<String>,
    query: Query<BTreeMap<String, String>>,
) -> Response {
    if version == VERSION { serve_users(state, query).await } else { unknown_path(state).await }
}

async fn unknown_path(State(shared): State<Arc<Shared>>) -> Response {
    shared.count(answer::not_found())
}

async fn serve_users(
    State(shared): State<Arc<Shared>>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    let wanted = Wanted::from_parameters(&parameters);
    let fault = shared.faults.take(&());
    if let Some(taken) = &fault {
        tracing::info!(action = ?taken.action, "a fault hits an API request");
        match taken.action {
            ApiAction::Delay { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
            ApiAction::Hold => shared.faults.hold(taken).await,
            _ => {}
        }
    }
    let response = match fault.and_then(|taken| answer::of_fault(&taken.action)) {
        Some(answer::Faulty::Whole(response)) => response,
        Some(answer::Faulty::Spoiled(spoil)) => spoil.apply(shared.users(wanted).await).await,
        None => shared.users(wanted).await,
    };
    shared.count(response)
}

impl Shared {
    /// The answer of an API that is well.
    async fn users(self: &Arc<Self>, mut wanted: Wanted) -> Response {
        if let Some(limiter) = &self.limiter
            && let Err(asked) = lock(limiter).admit(wanted.results as u64, Instant::now())
        {
            return answer::rate_limited(asked, None);
        }
        if let Some(replay) = &self.replay {
            return answer::replayed(replay.next_file());
        }
        if wanted.seed.is_none() {
            wanted.seed = self.seeds.as_ref().map(Seeds::next_seed);
        }
        let results = wanted.results as u64;
        let invalid_ratio = self.invalid_ratio;
        // Thousands of users take milliseconds: too long for a thread that serves connections.
        match tokio::task::spawn_blocking(move || answer::page(&wanted, invalid_ratio)).await {
            Ok(response) => {
                if response.status() == StatusCode::OK {
                    lock(&self.counts).users += results;
                }
                response
            }
            Err(error) => {
                tracing::error!(%error, "generating users failed");
                answer::server_error()
            }
        }
    }

    fn count(&self, response: Response) -> Response {
        *lock(&self.counts).requests.entry(response.status().as_u16()).or_default() += 1;
        response
    }
}

impl Seeds {
    fn next_seed(&self) -> String {
        format!("{}-{}", self.origin, self.given.fetch_add(1, Ordering::Relaxed))
    }
}

/// A lock that a panicking test can't poison for the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

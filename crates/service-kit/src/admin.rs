//! The admin server: `/livez`, `/readyz`, `/healthz` and `/metrics`, and a service's own routes.
//!
//! It answers orchestrators and Prometheus while the service is in trouble, and whatever other
//! clients do: it is bounded in connections, in the time a client may take to send a request, in the
//! size of a request's head, and in the age of a connection; and it has a thread of its own, so that
//! it neither waits for the service nor takes more than one core from it.
//!
//! Routes that refuse do so with a [`Problem`]; those that change state may ask for a [`BearerToken`].

mod connections;
mod problem;
mod token;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use self::connections::{Answering, ConnectionMetrics, Connections};
use crate::health::{Health, Report};
use crate::metrics::{Metrics, MetricsError};

pub use axum::Router;
pub use problem::Problem;
pub use token::{BearerToken, TOKEN_CHARS_MIN};

/// Time for a client to send a request's head, and to leave a kept connection idle.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request that is read; a longer one gets 431.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Age at which a connection is closed, whatever it does: a client that reads nothing can't keep one.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(300);
/// Time that a shutdown leaves to requests being answered.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after the system refuses a connection (no file descriptors left), lest the loop spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The admin server can't listen.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another process has the port.
    #[error(
        "the admin server can't listen on {addr}: the port is taken; \
         set ADMIN_ADDR to another one or to `off`, or stop the process that has it"
    )]
    PortTaken {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The system refuses the address.
    #[error("the admin server can't listen on {addr}: {error}; check ADMIN_ADDR")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The metrics have it already.
    #[error("the admin server's metrics can't be registered: {0}")]
    Metrics(#[from] MetricsError),
}

/// An admin server that listens and is about to serve.
#[derive(Debug)]
pub struct AdminServer {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
    health: Health,
    metrics: Metrics,
    connection_metrics: ConnectionMetrics,
}

impl AdminServer {
    /// Listens on `addr`; port 0 takes any free port, see [`local_addr`](Self::local_addr).
    pub async fn bind(
        addr: SocketAddr,
        health: Health,
        metrics: Metrics,
    ) -> Result<Self, AdminError> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => AdminError::PortTaken { addr },
            _ => AdminError::Bind { addr, error },
        };
        let listener =
            TcpListener::bind(addr).await.and_then(TcpListener::into_std).map_err(refused)?;
        let local_addr = listener.local_addr().map_err(refused)?;
        let connection_metrics = ConnectionMetrics::register(&metrics)?;
        Ok(Self { listener, local_addr, health, metrics, connection_metrics })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves the admin routes and `service_routes` on a thread of its own until `stop` completes,
    /// then closes idle connections at once and leaves 2 s to requests being answered.
    pub async fn serve(
        self,
        service_routes: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) {
        let (serving, ended) = oneshot::channel::<()>();
        let serve = move || {
            let served = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .and_then(|runtime| runtime.block_on(self.serve_here(service_routes, stop)));
            if let Err(error) = served {
                tracing::error!(%error, "the admin server can't serve");
            }
            drop(serving);
        };
        match thread::Builder::new().name("admin".to_owned()).spawn(serve) {
            // Nothing is ever sent: it is dropped at the end.
            Ok(_) => drop(ended.await),
            Err(error) => tracing::error!(%error, "the admin server's thread can't be started"),
        }
    }

    async fn serve_here(
        self,
        service_routes: Router,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let router = routes(self.health, self.metrics)
            .merge(service_routes)
            .fallback(problem::not_found)
            .method_not_allowed_fallback(problem::method_not_allowed);
        let graceful = GracefulShutdown::new();
        let mut connections = Connections::new(self.connection_metrics);
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = connections.accept(&listener) => accepted,
            };
            match accepted {
                Ok(stream) => {
                    let answering = Answering::default();
                    let connection = connection(stream, router.clone(), answering.clone());
                    let connection = until_too_old(graceful.watch(connection));
                    connections.serve(answering, connection).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin server could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::debug!("admin requests were cut off by the shutdown");
        }
        Ok(())
    }
}

fn connection(
    stream: TcpStream,
    router: Router,
    answering: Answering,
) -> impl GracefulConnection<Error = hyper::Error> {
    let service = TowerToHyperService::new(router);
    let answer = move |request| {
        let (answer, being_answered) = (service.call(request), answering.begin());
        async move {
            let answer = answer.await;
            drop(being_answered);
            answer
        }
    };
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
}

async fn until_too_old(connection: impl Future<Output = Result<(), hyper::Error>>) {
    match tokio::time::timeout(CONNECTION_AGE_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke"),
        Err(_) => tracing::debug!("an admin connection grew too old"),
    }
}

/// The admin routes alone, without a listener.
pub fn routes(health: Health, metrics: Metrics) -> Router {
    let probes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/healthz", get(healthz))
        .with_state(health);
    Router::new().route("/metrics", get(encode)).with_state(metrics).merge(probes)
}

async fn livez(State(health): State<Health>) -> Response {
    let report = health.report();
    answer(
        report.live,
        json!({
            "live": report.live,
            "beat_age_seconds": report.beat_age.as_secs_f64(),
            "stale_after_seconds": report.stale_after.as_secs_f64(),
        }),
    )
}

async fn readyz(State(health): State<Health>) -> Response {
    let report = health.report();
    answer(report.ready(), json!({ "ready": report.ready(), "reasons": report.reasons }))
}

async fn healthz(State(health): State<Health>) -> Response {
    let report: Report = health.report();
    answer(
        report.live && report.ready(),
        json!({ "live": report.live, "ready": report.ready(), "reasons": report.reasons }),
    )
}

async fn encode(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::content_type())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can't be encoded");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

fn answer(good: bool, body: serde_json::Value) -> Response {
    let status = match good {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests;

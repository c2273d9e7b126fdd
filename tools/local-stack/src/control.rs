//! The control endpoint: lets another process plan faults and read the counts.
//!
//! | request | does |
//! |---|---|
//! | `POST /faults` | plans a [`Fault`], or an array of them |
//! | `GET /faults` | what is still to come |
//! | `DELETE /faults` | forgets them and releases what is held |
//! | `POST /faults/release` | releases what is held |
//! | `GET /stats` | requests by outcome |
//! | `POST /s3/stop`, `POST /s3/start` | an outage of S3 |
//! | `POST /kafka/brokers/{id}/down`, `…/up` | an outage of a broker (-1: of all) |

use std::io;
use std::sync::{Arc, Weak};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::api::ApiFault;
use crate::listen::{PortReservation, loopback};
use crate::s3::S3Fault;
use crate::stack::Parts;

/// A fault of either server, as the control endpoint takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Fault {
    /// `"part":"s3"`
    S3(S3Fault),
    /// `"part":"api"`
    Api(ApiFault),
}

/// The control endpoint's port can't be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "the control endpoint can't listen on 127.0.0.1:{port}; is another program using the port?"
)]
pub struct ControlStartError {
    port: u16,
    source: io::Error,
}

/// The control endpoint on 127.0.0.1. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct ControlServer {
    url: String,
    task: AbortHandle,
    _port: PortReservation,
}

impl ControlServer {
    /// Starts the endpoint on `runtime`. It doesn't keep the parts alive.
    pub(crate) fn open(
        port: u16,
        parts: Weak<Parts>,
        runtime: &Handle,
    ) -> Result<Self, ControlStartError> {
        let _context = runtime.enter();
        let failed = |source| ControlStartError { port, source };
        let reservation = PortReservation::reserve(loopback(port)).map_err(failed)?;
        let listener = reservation.listen().map_err(failed)?;
        let app = router(parts);
        let task = runtime.spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the control endpoint has ended");
            }
        });
        Ok(Self {
            url: format!("http://{}", reservation.address()),
            task: task.abort_handle(),
            _port: reservation,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(parts: Weak<Parts>) -> Router {
    Router::new()
        .route("/faults", get(list_faults).post(plan_faults).delete(clear_faults))
        .route("/faults/release", post(release_held))
        .route("/stats", get(stats))
        .route("/s3/{action}", post(control_s3))
        .route("/kafka/brokers/{id}/{action}", post(control_broker))
        .with_state(parts)
}

/// A request that can't be carried out, with the status to say so.
struct Refusal(StatusCode, String);

impl Refusal {
    fn bad_request(error: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }

    fn no_part(part: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("this stack has no {part}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

type Answer<T = StatusCode> = Result<T, Refusal>;

fn upgrade(parts: &Weak<Parts>) -> Answer<Arc<Parts>> {
    let stopping = || Refusal(StatusCode::SERVICE_UNAVAILABLE, "the stack is stopping".to_owned());
    parts.upgrade().ok_or_else(stopping)
}

/// Takes the body whatever its content type is, so that `curl -d` serves.
async fn plan_faults(State(parts): State<Weak<Parts>>, body: Bytes) -> Answer {
    let parts = upgrade(&parts)?;
    let items = match serde_json::from_slice(&body).map_err(Refusal::bad_request)? {
        Value::Array(items) => items,
        item => vec![item],
    };
    // Read all of them before the first is planned: a mistake plans nothing.
    let faults: Vec<Fault> = items
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()
        .map_err(Refusal::bad_request)?;
    for fault in &faults {
        match fault {
            Fault::S3(_) if parts.s3.is_none() => return Err(Refusal::no_part("S3")),
            Fault::Api(_) if parts.api.is_none() => return Err(Refusal::no_part("API")),
            _ => {}
        }
    }
    for fault in faults {
        match (fault, &parts.s3, &parts.api) {
            (Fault::S3(fault), Some(s3), _) => s3.faults().push(fault),
            (Fault::Api(fault), _, Some(api)) => api.faults().push(fault),
            _ => {}
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn list_faults(State(parts): State<Weak<Parts>>) -> Answer<Json<Vec<Fault>>> {
    let parts = upgrade(&parts)?;
    let s3 = parts.s3.iter().flat_map(|s3| s3.faults().list()).map(Fault::S3);
    let api = parts.api.iter().flat_map(|api| api.faults().list()).map(Fault::Api);
    Ok(Json(s3.chain(api).collect()))
}

async fn clear_faults(State(parts): State<Weak<Parts>>) -> Answer {
    let parts = upgrade(&parts)?;
    parts.s3.iter().for_each(|s3| s3.faults().clear());
    parts.api.iter().for_each(|api| api.faults().clear());
    Ok(StatusCode::NO_CONTENT)
}

async fn release_held(State(parts): State<Weak<Parts>>) -> Answer {
    let parts = upgrade(&parts)?;
    parts.s3.iter().for_each(|s3| s3.faults().release());
    parts.api.iter().for_each(|api| api.faults().release());
    Ok(StatusCode::NO_CONTENT)
}

async fn stats(State(parts): State<Weak<Parts>>) -> Answer<Json<Value>> {
    let parts = upgrade(&parts)?;
    let s3 = parts
        .s3
        .as_ref()
        .map(|s3| json!({ "requests": s3.request_counts(), "held": s3.faults().held() }));
    let api = parts.api.as_ref().map(|api| {
        let counts = api.counts();
        json!({ "requests": counts.requests, "users": counts.users, "held": api.faults().held() })
    });
    Ok(Json(json!({ "s3": s3, "api": api })))
}

async fn control_s3(State(parts): State<Weak<Parts>>, Path(action): Path<String>) -> Answer {
    let parts = upgrade(&parts)?;
    blocking(move || {
        let s3 = parts.s3.as_ref().ok_or_else(|| Refusal::no_part("S3"))?;
        match action.as_str() {
            "stop" => {
                s3.stop();
                Ok(())
            }
            "start" => s3.start().map_err(Refusal::bad_request),
            _ => Err(Refusal::bad_request(format!("{action:?} is neither `stop` nor `start`"))),
        }
    })
    .await
}

async fn control_broker(
    State(parts): State<Weak<Parts>>,
    Path((broker, action)): Path<(i32, String)>,
) -> Answer {
    let parts = upgrade(&parts)?;
    blocking(move || {
        let kafka = parts.kafka.as_ref().ok_or_else(|| Refusal::no_part("Kafka"))?;
        match action.as_str() {
            "down" => kafka.broker_down(broker).map_err(Refusal::bad_request),
            "up" => kafka.broker_up(broker).map_err(Refusal::bad_request),
            _ => Err(Refusal::bad_request(format!("{action:?} is neither `down` nor `up`"))),
        }
    })
    .await
}

/// Runs what waits for a part's own threads where it may block.
async fn blocking(action: impl FnOnce() -> Answer<()> + Send + 'static) -> Answer {
    let failed = |error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}"));
    tokio::task::spawn_blocking(action).await.map_err(failed)??;
    Ok(StatusCode::NO_CONTENT)
}

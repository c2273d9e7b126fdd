//! The run API on the admin server: begins, shows and cancels runs. `openapi.json` is its contract.

mod request;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use service_kit::admin::{BearerToken, Problem, Router};
use uuid::Uuid;

use crate::runs::{Asker, Begun, Cancelled, Listing, Refusal};

const OPENAPI: &str = include_str!("openapi.json");

/// How long a client waits before it asks again: while the service starts, and while a retry is due
/// to get Kafka back or the process is replaced.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");
const RETRY_LATER: HeaderValue = HeaderValue::from_static("5");

#[derive(Debug, Clone)]
struct RunApi {
    asker: Asker,
    /// Guards what changes state.
    token: Option<Arc<BearerToken>>,
}

/// The routes of the run API.
pub(crate) fn routes(asker: Asker, token: Option<BearerToken>) -> Router {
    Router::new()
        .route("/runs", get(list).post(begin))
        .route("/runs/{id}", get(show).delete(cancel))
        .with_state(RunApi { asker, token: token.map(Arc::new) })
        .route("/openapi.json", get(openapi))
}

async fn begin(State(api): State<RunApi>, request: Request) -> Result<Response, Problem> {
    api.authorize(request.headers())?;
    let key = request::idempotency_key(request.headers())?;
    let requested = request::requested(request).await?;
    let Begun(run) = api.asker.begin(requested, key).await?;
    let location = (header::LOCATION, format!("/runs/{}", run.id));
    Ok((StatusCode::ACCEPTED, [location], Json(run)).into_response())
}

async fn list(State(api): State<RunApi>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let limit = request::limit(query.as_deref().unwrap_or_default())?;
    let Listing { runs, history_problem } = api.asker.list(limit).await?;
    Ok(Json(json!({ "runs": runs, "history_problem": history_problem })).into_response())
}

async fn show(
    State(api): State<RunApi>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    Ok(Json(api.asker.show(run_id(id)?).await?).into_response())
}

async fn cancel(
    State(api): State<RunApi>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    api.authorize(&headers)?;
    Ok(match api.asker.cancel(run_id(id)?).await? {
        Cancelled::Soon(run) => (StatusCode::ACCEPTED, Json(run)).into_response(),
        Cancelled::Before(run) => Json(run).into_response(),
    })
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

impl RunApi {
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Problem> {
        self.token.as_ref().map_or(Ok(()), |token| token.check(headers))
    }
}

/// What is no id is the id of no run.
fn run_id(id: Result<Path<String>, PathRejection>) -> Result<Uuid, Refusal> {
    id.ok().and_then(|Path(id)| Uuid::try_parse(&id).ok()).ok_or(Refusal::NotFound)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let unavailable = |code, detail: String, retry_after| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
                .header(header::RETRY_AFTER, retry_after)
        };
        match refusal {
            Refusal::Starting(why) => {
                unavailable("starting", format!("the runs are not known yet: {why}"), RETRY_SOON)
            }
            Refusal::NotRecorded(why) => unavailable(
                "not_recorded",
                format!("no run was started, since it could not be recorded: {why}"),
                RETRY_LATER,
            ),
            Refusal::KeyNotKept(why) => unavailable(
                "not_recorded",
                format!(
                    "no run was started: without the run history on RUNS_TOPIC the \
                     Idempotency-Key can't be kept, and a repeat might start a second run: {why}"
                ),
                RETRY_LATER,
            ),
            Refusal::Leaving => {
                unavailable("leaving", "the ingestor is about to end".to_string(), RETRY_LATER)
            }
            Refusal::NotFound => Problem::new(
                StatusCode::NOT_FOUND,
                "run_not_found",
                "no run has this id; only the newest ones are kept",
            ),
            Refusal::Active(run) => Problem::new(
                StatusCode::CONFLICT,
                "run_active",
                format!("run {} is active: wait for its end, or cancel it", run.id),
            )
            .member("run", run),
            Refusal::KeyReused(id) => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                format!(
                    "this Idempotency-Key began run {id} with other parameters; use another key"
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests;

//! The layer around the S3 service that makes requests fail on demand and counts them.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use s3s::{Body, StdError};

use super::backend::{Backend, BackendError};
use super::faults::{Operation, S3Action, S3Fault, Target};
use super::operations::IgnoreCondition;
use super::{RequestCounts, lock};
use crate::faults::{FaultPlan, Taken};

/// Why a connection is cut instead of answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("a fault cut the connection before the request was applied")]
    NotApplied,
    #[error("a fault cut the connection after the request was applied")]
    AnswerLost,
    #[error(transparent)]
    Failed(#[from] BackendError),
}

/// The S3 service behind its fault plan.
#[derive(Debug)]
pub(super) struct FaultyS3 {
    inner: Backend,
    faults: Arc<FaultPlan<S3Fault>>,
    counts: Arc<Mutex<RequestCounts>>,
}

impl FaultyS3 {
    pub(super) fn new(
        inner: Backend,
        faults: Arc<FaultPlan<S3Fault>>,
        counts: Arc<Mutex<RequestCounts>>,
    ) -> Self {
        Self { inner, faults, counts }
    }

    /// Serves one request. An error makes hyper cut the connection.
    pub(super) async fn call(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let target = Target::of(request.method(), request.uri());
        let request = request.map(Body::from);
        let result = match self.faults.take(&target) {
            None => self.apply(request).await,
            Some(taken) => {
                tracing::info!(operation = ?target.operation, key = target.key,
                    action = ?taken.action, "a fault hits an S3 request");
                self.call_with_fault(request, &target, &taken).await
            }
        };
        self.count(target.operation, &result);
        result
    }

    async fn call_with_fault(
        &self,
        request: Request<Body>,
        target: &Target,
        taken: &Taken<S3Action>,
    ) -> Result<Response<Body>, Cut> {
        match taken.action {
            S3Action::SlowDown => {
                refuse(request, target, StatusCode::SERVICE_UNAVAILABLE, "SlowDown").await
            }
            S3Action::InternalError => {
                refuse(request, target, StatusCode::INTERNAL_SERVER_ERROR, "InternalError").await
            }
            S3Action::Conflict => {
                refuse(request, target, StatusCode::CONFLICT, "ConditionalRequestConflict").await
            }
            S3Action::AccessDenied => {
                refuse(request, target, StatusCode::FORBIDDEN, "AccessDenied").await
            }
            S3Action::Delay { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                self.apply(request).await
            }
            S3Action::Hold => {
                self.faults.hold(taken).await;
                self.apply(request).await
            }
            S3Action::DropBefore => Err(Cut::NotApplied),
            S3Action::DropInBody { bytes } => {
                // Whoever applies it sees the connection end early, too.
                let applied = self.apply(request.map(|body| cut_short(body, bytes))).await;
                tracing::debug!(?applied, "a request was cut in its body");
                Err(Cut::NotApplied)
            }
            S3Action::ApplyThenDrop => {
                self.apply(request).await?;
                Err(Cut::AnswerLost)
            }
            S3Action::ApplyThenInternalError => {
                let method = request.method().clone();
                self.apply(request).await?;
                Ok(error_response(
                    &method,
                    target,
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "InternalError",
                ))
            }
            S3Action::ClaimSuccess => claim_success(request).await,
            S3Action::IgnoreCondition => self.apply_unconditionally(request).await,
            S3Action::HoldThenIgnoreCondition => {
                self.faults.hold(taken).await;
                self.apply_unconditionally(request).await
            }
        }
    }

    async fn apply_unconditionally(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Cut> {
        // The header itself is signed, so it can't be taken out here.
        request.extensions_mut().insert(IgnoreCondition);
        self.apply(request).await
    }

    async fn apply(&self, request: Request<Body>) -> Result<Response<Body>, Cut> {
        Ok(self.inner.call(request).await?)
    }

    fn count(&self, operation: Operation, result: &Result<Response<Body>, Cut>) {
        let outcome = match result {
            Ok(response) => response.status().as_str().to_owned(),
            Err(Cut::NotApplied) => "not_applied".to_owned(),
            Err(Cut::AnswerLost) => "answer_lost".to_owned(),
            Err(Cut::Failed(_)) => "failed".to_owned(),
        };
        let mut counts = lock(&self.counts);
        let of_operation = counts.entry(format!("{operation:?}")).or_default();
        *of_operation.entry(outcome).or_default() += 1;
    }
}

/// The first `bytes` of a body, and then an error instead of the rest.
fn cut_short(body: Body, bytes: usize) -> Body {
    let mut left = bytes;
    let frames = body.map(move |frame| {
        let mut frame = frame?;
        if left == 0 {
            return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
        }
        frame.truncate(left);
        left -= frame.len();
        Ok::<_, StdError>(Frame::data(frame))
    });
    Body::http_body_unsync(StreamBody::new(frames))
}

/// Answers with an error and applies nothing.
async fn refuse(
    request: Request<Body>,
    target: &Target,
    status: StatusCode,
    code: &str,
) -> Result<Response<Body>, Cut> {
    let method = request.method().clone();
    read_to_end(request).await?;
    Ok(error_response(&method, target, status, code))
}

/// Says that all went well, and applies nothing. The body is that of a completed upload, which has
/// to be read; who asked for something else ignores it.
async fn claim_success(request: Request<Body>) -> Result<Response<Body>, Cut> {
    read_to_end(request).await?;
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CompleteMultipartUploadResult/>";
    let mut response = Response::new(Body::from(body.to_owned()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(response)
}

/// A server that answers in the middle of a body makes clients see a broken connection instead of
/// the answer.
async fn read_to_end(mut request: Request<Body>) -> Result<(), Cut> {
    while let Some(chunk) = request.body_mut().next().await {
        if chunk.is_err() {
            return Err(Cut::NotApplied);
        }
    }
    Ok(())
}

/// An error as S3 writes it.
fn error_response(
    method: &Method,
    target: &Target,
    status: StatusCode,
    code: &str,
) -> Response<Body> {
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let operation = target.operation;
        Body::from(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
             <Message>injected into {operation:?} by the fault plan</Message></Error>"
        ))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

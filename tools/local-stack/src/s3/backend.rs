//! Who answers S3 requests behind the fault plan: the server over a directory, or a real one elsewhere.

use std::net::SocketAddr;

use hyper::header::CONNECTION;
use hyper::http::uri::Scheme;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use s3s::Body;
use s3s::service::S3Service;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackendError {
    #[error("the S3 service can't answer: {0:?}")]
    Embedded(s3s::HttpError),
    #[error("the S3 server behind this one can't be asked")]
    Upstream(#[from] hyper_util::client::legacy::Error),
    #[error("the request line can't be sent on")]
    RequestLine(#[from] hyper::http::Error),
}

/// Answers requests as S3 does.
#[derive(Debug)]
pub(super) enum Backend {
    Embedded(S3Service),
    Upstream(Box<Upstream>),
}

impl Backend {
    pub(super) async fn call(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Body>, BackendError> {
        match self {
            Self::Embedded(service) => service.call(request).await.map_err(BackendError::Embedded),
            Self::Upstream(upstream) => upstream.call(request).await,
        }
    }
}

/// An S3 server that gets each request as it came: with its `Host`, which is signed.
#[derive(Debug)]
pub(super) struct Upstream {
    address: SocketAddr,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn call(&self, mut request: Request<Body>) -> Result<Response<Body>, BackendError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.address.to_string())
            .path_and_query(path)
            .build()?;
        // Each of the two connections has its own.
        request.headers_mut().remove(CONNECTION);
        let mut response = self.client.request(request).await?;
        response.headers_mut().remove(CONNECTION);
        Ok(response.map(Body::from))
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use pipeline_model::message;
use tokio::net::TcpListener;

use super::*;

const USER: &str = r#"{"gender":"male","name":{"title":"Mr","first":"A","last":"B"},
    "location":{"street":{"number":1,"name":"C"},"city":"D","country":"E","postcode":"F",
    "coordinates":{"latitude":"1.5","longitude":"-2.5"}},"email":"a@b"}"#;

/// A server that answers every request alike and remembers the queries.
#[derive(Clone)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Arc<dyn Fn() -> Body + Send + Sync>,
    queries: Arc<Mutex<Vec<String>>>,
}

impl Answer {
    fn new(status: u16, body: impl Into<String>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: Vec::new(),
            body: Arc::new(move || Body::from(body.clone())),
            queries: Arc::default(),
        }
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    async fn serve(&self) -> ApiConfig {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/", listener.local_addr().unwrap());
        let router = Router::new().fallback(reply).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        ApiConfig {
            url: Url::parse(&url).unwrap(),
            nat: None,
            timeout: Duration::from_secs(60),
            response_bytes_max: 4096,
            retries_max: 0,
            retry_delay: Duration::from_millis(1),
        }
    }

    async fn fetch(&self) -> Result<Page, FetchError> {
        pages(&self.serve().await).page(1).await
    }

    /// Fetches what must fail: the outcome, the text, and whether a retry may help.
    async fn failure(&self) -> (&'static str, String, bool) {
        let error = self.fetch().await.unwrap_err();
        assert!(FetchError::OUTCOMES.contains(&error.outcome()));
        (error.outcome(), error.to_string(), error.is_retryable())
    }
}

fn pages(config: &ApiConfig) -> Pages {
    Fetcher::new(config).unwrap().pages(7, None)
}

async fn reply(State(answer): State<Answer>, request: Request) -> impl IntoResponse {
    let query = request.uri().query().unwrap_or_default().to_string();
    answer.queries.lock().unwrap().push(query);
    let mut response = axum::http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, *value);
    }
    response.body((answer.body)()).unwrap()
}

#[tokio::test]
async fn a_page() {
    let page = Answer::new(200, format!(r#"{{"results":[{USER},{{}}]}}"#)).fetch().await.unwrap();
    let users: Vec<_> = page.users().collect();
    assert_eq!(message::decode(users[0].unwrap()).unwrap().name, "Mr. A B");
    assert_eq!(users[1].unwrap_err().index, 1);
}

#[tokio::test]
async fn the_rate_limit_says_how_long_to_wait() {
    let limited = Answer::new(429, r#"{"error":"Whoa"}"#).header("retry-after", "7");
    let error = limited.fetch().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!((error.outcome(), error.is_retryable()), ("rate_limited", true));

    let silent = Answer::new(429, "").fetch().await.unwrap_err();
    assert_eq!(silent.retry_after(), None);
    let odd = Answer::new(503, "").header("retry-after", "soon").fetch().await.unwrap_err();
    assert_eq!(odd.retry_after(), None);
}

#[tokio::test]
async fn refusals_by_status_show_one_line_of_the_body() {
    let (outcome, text, retry) = Answer::new(503, "503 Service\r\n  Not Available").failure().await;
    assert_eq!((outcome, retry), ("server_error", true));
    assert_eq!(text, "HTTP 503 Service Unavailable: 503 Service Not Available");

    let (outcome, text, retry) = Answer::new(404, "é".repeat(10_000)).failure().await;
    assert_eq!((outcome, retry), ("client_error", true));
    assert!(text.chars().count() < 300, "{text}");

    for status in [400, 401, 403] {
        assert!(!Answer::new(status, "").failure().await.2, "{status}");
    }
    assert_eq!(Answer::new(204, "").failure().await.0, "server_error");
}

#[tokio::test]
async fn bodies_that_are_no_page() {
    let html = "<!DOCTYPE html><title>502 Bad gateway</title>";
    for (body, outcome) in [
        (html, "not_json"),
        (r#"{"results":[{"gen"#, "not_json"),
        (r#"{"error":"Uh oh"}"#, "api_error"),
        (r#"{"info":{}}"#, "no_results"),
        (r#"{"results":[],"info":{"results":1}}"#, "empty"),
    ] {
        let failure = Answer::new(200, body).failure().await;
        assert_eq!((failure.0, failure.2), (outcome, true), "{body}");
    }
}

#[tokio::test]
async fn an_announced_large_body_is_not_read() {
    let (outcome, text, retry) = Answer::new(200, " ".repeat(4097)).failure().await;
    assert_eq!((outcome, retry), ("too_large", false));
    assert!(text.contains("4096") && text.contains("API_RESPONSE_BYTES_MAX"), "{text}");
}

/// A body of unknown length whose stream never ends: only a cap while reading stops it.
fn endless() -> Answer {
    let mut answer = Answer::new(200, "");
    answer.body = Arc::new(|| {
        Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(100))))
    });
    answer
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    assert_eq!(endless().failure().await.0, "too_large");
}

#[tokio::test]
async fn a_body_that_never_comes_times_out() {
    let mut answer = Answer::new(200, "");
    answer.body =
        Arc::new(
            || Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>()),
        );
    let config = ApiConfig { timeout: Duration::from_millis(50), ..answer.serve().await };
    let error = pages(&config).page(1).await.unwrap_err();
    assert_eq!((error.outcome(), error.is_retryable()), ("timeout", true));
    assert_eq!(error.to_string(), "no whole answer within 50ms");
}

#[tokio::test]
async fn nobody_there() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut config = Answer::new(200, "").serve().await;
    config.url = Url::parse(&format!("http://{closed}/")).unwrap();
    let error = pages(&config).page(1).await.unwrap_err();
    assert_eq!((error.outcome(), error.is_retryable()), ("connection", true));
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn our_parameters_replace_those_of_the_url() {
    let answer = Answer::new(200, format!(r#"{{"results":[{USER}]}}"#));
    let mut config = answer.serve().await;
    config.url.set_query(Some("results=1&inc=name,email&page=9"));
    pages(&config).page(3).await.unwrap();
    config.nat = Some("us,gb".to_string());
    Fetcher::new(&config).unwrap().pages(7, Some("a b")).page(3).await.unwrap();
    assert_eq!(
        *answer.queries.lock().unwrap(),
        [
            "inc=name%2Cemail&page=9&results=7",
            "inc=name%2Cemail&results=7&seed=a+b&nat=us%2Cgb&page=3"
        ]
    );
}

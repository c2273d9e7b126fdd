//! A serving ingestor, and requests to its admin server.

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::api::Api;
use crate::kafka::Kafka;
use crate::process::{Ended, Ingestor, Running, TERMINATE, within_a_minute};

/// An ingestor that listens, and knows its runs.
pub(crate) struct Served {
    pub(crate) process: Running,
    pub(crate) admin: String,
}

/// An answer of the admin server.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

/// An ingestor that begins no run by itself.
pub(crate) fn manual(kafka: &Kafka, api: &Api) -> Ingestor {
    Ingestor::serve(kafka, api).env("SCHEDULE", "manual")
}

/// A body for a run that goes on until it is told to end.
pub(crate) const ENDLESS: &str = r#"{"results":10,"pause_seconds":0.02,"streaming_seconds":86400}"#;

/// A body for a run of one request.
pub(crate) const SHORT: &str = r#"{"results":10,"streaming_seconds":0}"#;

impl Served {
    /// Starts it on a free port, and waits until its history is read.
    pub(crate) async fn start(ingestor: Ingestor) -> Self {
        let mut served = Self::listening(ingestor).await;
        served.process.logs("run history is read and kept").await;
        served
    }

    /// Starts it on a free port.
    pub(crate) async fn listening(ingestor: Ingestor) -> Self {
        let mut process = ingestor.env("ADMIN_ADDR", "127.0.0.1:0").start();
        let listens = process.logs("admin server listens").await;
        Self { process, admin: listens["addr"].as_str().unwrap().to_string() }
    }

    /// One request with these headers.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Reply {
        let mut request = Client::new().request(method, format!("http://{}{path}", self.admin));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = within_a_minute(path, request.send()).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Reply { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], None).await
    }

    /// Asks for a run.
    pub(crate) async fn post(&self, body: &str) -> Reply {
        self.send(Method::POST, "/runs", &[("content-type", "application/json")], Some(body)).await
    }

    /// Asks for a run with a key.
    pub(crate) async fn post_with_key(&self, key: &str, body: &str) -> Reply {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.send(Method::POST, "/runs", &headers, Some(body)).await
    }

    /// Asks for a run that must be accepted; returns its id.
    pub(crate) async fn begin(&self, body: &str) -> String {
        let reply = self.post(body).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        reply.body["id"].as_str().unwrap().to_string()
    }

    pub(crate) async fn cancel(&self, id: &str) -> Reply {
        self.send(Method::DELETE, &format!("/runs/{id}"), &[], None).await
    }

    pub(crate) async fn show(&self, id: &str) -> Value {
        let reply = self.get(&format!("/runs/{id}")).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    /// The value of a metric's line, its labels included.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let reply = self.get("/metrics").await;
        let text = reply.body.as_str().unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits for the log line that tells a run's end, and returns the run.
    pub(crate) async fn ended(&mut self) -> Value {
        let line = self.process.logs("run ended").await;
        self.show(line["run_id"].as_str().unwrap()).await
    }

    /// Ends the process by SIGTERM.
    pub(crate) async fn terminate(mut self) -> Ended {
        self.process.signal(TERMINATE);
        self.process.wait().await
    }
}

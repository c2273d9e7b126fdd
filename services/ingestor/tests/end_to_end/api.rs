//! An API that serves numbered users, after a script of other answers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::process::within_a_minute;

/// The nationality whose users are all bad.
pub(crate) const NOWHERE: &str = "zz";

/// The nationality whose users have a city of 2,000 letters.
pub(crate) const LONG: &str = "ll";

/// One answer that is no page of numbered users.
#[derive(Clone)]
pub(crate) struct Scripted {
    status: u16,
    body: &'static str,
    retry_after: Option<&'static str>,
}

impl Scripted {
    pub(crate) fn new(status: u16, body: &'static str) -> Self {
        Self { status, body, retry_after: None }
    }

    pub(crate) fn retry_after(mut self, value: &'static str) -> Self {
        self.retry_after = Some(value);
        self
    }
}

/// The running API.
pub(crate) struct Api {
    pub(crate) url: String,
    requests: watch::Receiver<u64>,
}

#[derive(Clone)]
struct Shared {
    script: Arc<Mutex<VecDeque<Scripted>>>,
    next_user: Arc<Mutex<u64>>,
    requests: watch::Sender<u64>,
}

impl Api {
    /// Answers by `script` first, then with pages of users 0, 1, 2, … of which the last of each
    /// page is a bad one, if it has more than one.
    pub(crate) async fn start(script: impl IntoIterator<Item = Scripted>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/", listener.local_addr().unwrap());
        let (sender, requests) = watch::channel(0);
        let shared = Shared {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            next_user: Arc::default(),
            requests: sender,
        };
        let router = Router::new().route("/api/", get(answer)).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, requests }
    }

    /// How many requests came so far.
    pub(crate) fn requests(&self) -> u64 {
        *self.requests.borrow()
    }

    /// Waits until `count` requests have come.
    pub(crate) async fn served(&self, count: u64) {
        let mut requests = self.requests.clone();
        within_a_minute("requests", requests.wait_for(|served| *served >= count)).await.unwrap();
    }
}

async fn answer(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> (StatusCode, HeaderMap, String) {
    shared.requests.send_modify(|requests| *requests += 1);
    let scripted = shared.script.lock().unwrap().pop_front();
    if let Some(Scripted { status, body, retry_after }) = scripted {
        let headers = retry_after
            .map(|value| ("retry-after".parse().unwrap(), HeaderValue::from_static(value)));
        let status = StatusCode::from_u16(status).unwrap();
        return (status, headers.into_iter().collect(), body.to_string());
    }
    let results: u64 = query["results"].parse().unwrap();
    let mut next = shared.next_user.lock().unwrap();
    let first = *next;
    *next += results;
    let mut users: Vec<Value> = (first..*next).map(user).collect();
    let bad = match (query.get("nat").map(String::as_str), users.len()) {
        (Some(NOWHERE), _) => 0..users.len(),
        (Some(LONG), _) | (_, 1) => 0..0,
        (_, many) => many - 1..many,
    };
    if query.get("nat").is_some_and(|nat| nat == LONG) {
        for user in &mut users {
            user["location"]["city"] = "long".repeat(500).into();
        }
    }
    for user in &mut users[bad] {
        user["location"]["coordinates"]["latitude"] = "north".into();
    }
    (StatusCode::OK, HeaderMap::new(), json!({ "results": users }).to_string())
}

fn user(number: u64) -> Value {
    json!({
        "gender": "female",
        "name": { "title": "Ms", "first": "Zoë", "last": "O'Hara" },
        "location": {
            "street": { "number": number, "name": "Rue \"du\" Lac" },
            "city": "سنندج",
            "country": "Iran",
            "postcode": 752,
            "coordinates": { "latitude": "-12.0500", "longitude": "7.2500" },
        },
        "email": email(number),
    })
}

fn email(number: u64) -> String {
    format!("user.{number}@example.com")
}

/// The message of user `number`, byte for byte. The zip is Python's
/// `int(hashlib.md5(b"752").hexdigest(), 16)`.
pub(crate) fn payload(number: u64) -> String {
    format!(
        "{{\"name\":\"Ms. Zoë O'Hara\",\"gender\":\"female\",\
         \"address\":\"{number}, Rue \\\"du\\\" Lac\",\"city\":\"سنندج\",\"nation\":\"Iran\",\
         \"zip\":215102520294325371701120351969351396188,\
         \"latitude\":-12.05,\"longitude\":7.25,\"email\":\"{}\"}}",
        email(number)
    )
}

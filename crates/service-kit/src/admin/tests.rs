#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::healthcheck;
use crate::metrics::BuildInfo;

struct Running {
    addr: SocketAddr,
    health: Health,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn start(health: Health) -> Running {
    let metrics =
        Metrics::new(BuildInfo { service: "demo", version: "1.2.3", revision: None }).unwrap();
    let any_port = "127.0.0.1:0".parse().unwrap();
    let server = AdminServer::bind(any_port, health.clone(), metrics).await.unwrap();
    let addr = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let extra = Router::new().route("/extra", get(|| async { "mine" }));
    let served = tokio::spawn(server.serve(extra, async {
        stopped.await.unwrap();
    }));
    Running { addr, health, stop, served }
}

async fn get_json(addr: SocketAddr, path: &str) -> (u16, serde_json::Value) {
    let response = reqwest::get(format!("http://{addr}{path}")).await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn probes_follow_the_health() {
    let running = start(Health::new(Duration::from_secs(3600))).await;
    let addr = running.addr;
    running.health.started();
    running.health.not_ready("kafka", "no assignment yet");

    assert_eq!(get_json(addr, "/livez").await.0, 200);
    let (status, body) = get_json(addr, "/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(body["reasons"]["kafka"], "no assignment yet");
    assert_eq!(get_json(addr, "/healthz").await.0, 503);

    running.health.ready("kafka");
    assert_eq!(get_json(addr, "/readyz").await.0, 200);
    assert_eq!(get_json(addr, "/healthz").await.0, 200);

    running.health.shutting_down();
    assert_eq!(get_json(addr, "/readyz").await.0, 503);
    assert_eq!(get_json(addr, "/livez").await.0, 200);
}

#[tokio::test]
async fn a_stale_heartbeat_is_not_live() {
    let long_ago = std::time::Instant::now();
    let running = start(Health::new_at(Duration::ZERO, long_ago)).await;
    running.health.started();
    let (status, body) = get_json(running.addr, "/livez").await;
    assert_eq!((status, &body["live"]), (503, &serde_json::Value::Bool(false)));
    assert_eq!(get_json(running.addr, "/healthz").await.0, 503);
    assert_eq!(get_json(running.addr, "/readyz").await.0, 200);
}

#[tokio::test]
async fn metrics_and_the_services_own_routes_are_served() {
    let running = start(Health::new(Duration::from_secs(3600))).await;
    let response = reqwest::get(format!("http://{}/metrics", running.addr)).await.unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap().to_string();
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    let text = response.text().await.unwrap();
    assert!(text.contains(r#"demo_build_info{revision="",version="1.2.3"} 1"#), "{text}");
    let extra = reqwest::get(format!("http://{}/extra", running.addr)).await.unwrap();
    assert_eq!(extra.text().await.unwrap(), "mine");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_as_problems() {
    let running = start(Health::new(Duration::from_secs(3600))).await;
    let (status, body) = get_json(running.addr, "/nowhere").await;
    assert_eq!((status, &body["code"]), (404, &"not_found".into()));
    for path in ["/livez", "/metrics", "/extra"] {
        let url = format!("http://{}{path}", running.addr);
        let response = reqwest::Client::new().post(url).send().await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        assert_eq!(response.headers()["allow"], "GET,HEAD", "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!((&body["status"], &body["code"]), (&405.into(), &"method_not_allowed".into()));
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let running = start(Health::new(Duration::from_secs(3600))).await;
    let metrics =
        Metrics::new(BuildInfo { service: "demo", version: "1.2.3", revision: None }).unwrap();
    let error = AdminServer::bind(running.addr, running.health, metrics).await.unwrap_err();
    assert!(matches!(error, AdminError::PortTaken { .. }));
    let text = error.to_string();
    assert!(text.contains(&running.addr.to_string()) && text.contains("ADMIN_ADDR"), "{text}");
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_frees_the_port() {
    let running = start(Health::new(Duration::from_secs(3600))).await;
    let mut idle = TcpStream::connect(running.addr).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    running.stop.send(()).unwrap();
    running.served.await.unwrap();
    idle.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(TcpStream::connect(running.addr).await.is_err());
}

#[tokio::test]
async fn the_healthcheck_client_and_the_server_agree() {
    let running = start(Health::new(Duration::from_secs(3600))).await;
    let addr = running.addr;
    let ask = || async move {
        tokio::task::spawn_blocking(move || healthcheck::check(addr, Duration::from_secs(10)))
            .await
            .unwrap()
    };
    let error = ask().await.unwrap_err().to_string();
    assert!(error.contains("startup"), "{error}");
    running.health.started();
    ask().await.unwrap();
}

//! Against real servers, which two variables name. A test that has none says so on stderr and is
//! skipped. What the tests make has names of its own and stays there, 100,000 objects included: the
//! servers must be for tests.
//!
//! ```text
//! TEST_KAFKA=127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094 \
//! TEST_S3=http://ACCESS_KEY:SECRET@127.0.0.1:7070/BUCKET \
//!     cargo test --workspace --test integration cluster:: -- --nocapture
//! ```

mod replay;
mod scale;

use std::io::Write;
use std::time::SystemTime;

use url::Url;

use crate::objects::Bucket;

/// Bootstrap servers of three or more brokers.
const KAFKA: &str = "TEST_KAFKA";
/// A bucket that is there, with the keys to it.
const S3: &str = "TEST_S3";

/// The brokers to test with, if any.
fn kafka() -> Option<String> {
    variable(KAFKA, "no brokers")
}

/// The bucket to test with, if any: with chunks below `prefix`, and the variables that lead a
/// service there.
fn s3(prefix: &str) -> Option<(Bucket, Vec<(String, String)>)> {
    let url: Url = variable(S3, "no bucket")?.parse().unwrap();
    let name = url.path().trim_matches('/');
    let keys = (url.username(), url.password().unwrap());
    let endpoint = format!("{}://{}", url.scheme(), url.authority().rsplit('@').next().unwrap());
    let variables = [
        ("AWS_ENDPOINT_URL_S3", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", keys.0),
        ("AWS_SECRET_ACCESS_KEY", keys.1),
        ("AWS_REGION", local_stack::s3::REGION),
        ("S3_BUCKET", name),
        ("S3_PREFIX", prefix),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Some((Bucket::new(&endpoint, keys, name, prefix), variables.to_vec()))
}

/// A name that no earlier run has used.
fn unused(name: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!("test-{name}-{}", now.as_millis())
}

fn variable(name: &str, what: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default();
        let line = format!("{test}: skipped, {name} names {what}\n");
        // Not by a macro: what those print is shown of failed tests only.
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    value
}

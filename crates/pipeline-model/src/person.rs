//! The validated user, under the names and in the order of the original producer.

use md5::{Digest, Md5};
use serde::Serialize;

/// A validated user: what becomes one message and, later, one row.
///
/// The order of the fields is the order of the JSON message; both are frozen by a golden file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Person {
    /// `"{title}. {first} {last}"`.
    pub name: String,
    /// As the API gives it, e.g. `female`.
    pub gender: String,
    /// `"{street.number}, {street.name}"`, or the whole street where the API gives one string.
    pub address: String,
    /// `location.city`.
    pub city: String,
    /// `location.country`.
    pub nation: String,
    /// See [`zip_of_postcode`].
    pub zip: u128,
    /// Degrees, -90 ..= 90.
    pub latitude: f64,
    /// Degrees, -180 ..= 180.
    pub longitude: f64,
    /// As the API gives it; never validated as an address.
    pub email: String,
}

/// The MD5 of the postcode's text, read as a big-endian 128-bit integer.
///
/// ```
/// // python3 -c 'import hashlib; print(int(hashlib.md5(b"752").hexdigest(), 16))'
/// assert_eq!(pipeline_model::zip_of_postcode("752"), 215102520294325371701120351969351396188);
/// ```
pub fn zip_of_postcode(postcode: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(postcode.as_bytes()).into())
}

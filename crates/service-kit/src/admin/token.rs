//! The bearer token of routes that change state.

use std::fmt;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use subtle::ConstantTimeEq;

use super::Problem;

/// Tokens that are shorter can be guessed.
pub const TOKEN_CHARS_MIN: usize = 16;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"admin\"");
const CHALLENGE_WRONG: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"admin\", error=\"invalid_token\"");

/// A token that requests must carry as `Authorization: Bearer TOKEN` (RFC 6750). Never shown.
#[derive(Clone)]
pub struct BearerToken(String);

impl BearerToken {
    /// At least 16 printable ASCII characters without blanks, as a header can carry them; `None`
    /// for any other text.
    pub fn new(token: &str) -> Option<Self> {
        let fits =
            token.len() >= TOKEN_CHARS_MIN && token.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(token.to_string()))
    }

    /// Lets a request with the token through; any other gets 401 with `WWW-Authenticate`.
    ///
    /// The comparison takes as long for a token that is nearly right as for one that is all wrong;
    /// it may tell the length.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(credentials), None) = (given.next(), given.next()) else {
            return Err(refusal(CHALLENGE, "send one header `Authorization: Bearer TOKEN`"));
        };
        match bearer(credentials.as_bytes()) {
            Some(token) if token.ct_eq(self.0.as_bytes()).into() => Ok(()),
            Some(_) => Err(refusal(CHALLENGE_WRONG, "this is not the token of ADMIN_TOKEN")),
            None => Err(refusal(CHALLENGE, "only `Authorization: Bearer TOKEN` is known here")),
        }
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(***)")
    }
}

/// The token of `Bearer TOKEN`; the scheme is taken in any case.
fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let blank = credentials.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = credentials.split_at(blank);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

fn refusal(challenge: HeaderValue, detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .header(header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use axum::response::IntoResponse;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn check(credentials: &[&str]) -> Result<(), (u16, String)> {
        let mut headers = HeaderMap::new();
        for value in credentials {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        BearerToken::new(TOKEN).unwrap().check(&headers).map_err(|problem| {
            let response = problem.into_response();
            let challenge = response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
            (response.status().as_u16(), challenge.to_string())
        })
    }

    #[test]
    fn the_token_opens_under_its_scheme_alone() {
        assert_eq!(check(&["Bearer 0123456789abcdef"]), Ok(()));
        assert_eq!(check(&["bEARER  0123456789abcdef"]), Ok(()));
        let missing = Err((401, "Bearer realm=\"admin\"".to_string()));
        for credentials in [
            &[] as &[&str],
            &["Basic 0123456789abcdef"],
            &[TOKEN],
            &["Bearer"],
            &["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"],
        ] {
            assert_eq!(check(credentials), missing, "{credentials:?}");
        }
        let wrong = Err((401, "Bearer realm=\"admin\", error=\"invalid_token\"".to_string()));
        for credentials in [
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
        ] {
            assert_eq!(check(&[credentials]), wrong, "{credentials:?}");
        }
    }

    #[test]
    fn short_and_unsendable_tokens_are_none() {
        for token in
            ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdé", "0123456789abcde\n"]
        {
            assert!(BearerToken::new(token).is_none(), "{token:?}");
        }
    }

    #[test]
    fn the_token_is_not_shown() {
        assert_eq!(format!("{:?}", BearerToken::new(TOKEN)), "Some(BearerToken(***))");
    }
}

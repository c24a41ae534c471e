//! Whether a change is asked for by somebody who means it. A browser sends what any page has it send, so a page of a stranger
//! must not be able to change a cluster that asks nobody who it is.
//!
//! A change has to be `application/json`, which a page of another origin may send only after the browser has asked whether it
//! may; and a request of which the browser says that it comes from another origin is refused.

use axum::http::{HeaderMap, StatusCode, Uri, header};

use crate::http::error::HttpError;

/// Of an origin that is refused, what the refusal repeats.
const SHOWN_MAX: usize = 80;

/// Refuses a change that a page of another origin may have sent. `origins` are the origins whose pages may.
pub(super) fn check(headers: &HeaderMap, address: &Uri, origins: &[String]) -> Result<(), HttpError> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(HttpError::of(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a change is sent as JSON; set 'Content-Type: application/json'".to_owned(),
        ));
    }
    let origin = text(header::ORIGIN);
    // `*` lets every page read, and lets none change anything.
    if origin.is_some_and(|origin| origins.iter().any(|listed| listed == origin)) {
        return Ok(());
    }
    // HTTP/2 has the name in the request's address.
    let own = text(header::HOST).or(address.authority().map(|authority| authority.as_str()));
    let is_own = |origin: &str| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.zip(own).is_some_and(|(host, own)| host.eq_ignore_ascii_case(own))
    };
    let site = headers.get("sec-fetch-site").map(|site| site.to_str().unwrap_or_default());
    let is_strange = site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
        || origin.is_some_and(|origin| !is_own(origin));
    if !is_strange {
        return Ok(());
    }
    let shown: String = origin.unwrap_or("another origin").chars().take(SHOWN_MAX).collect();
    Err(HttpError::of(
        StatusCode::FORBIDDEN,
        format!(
            "a page of {shown} asks for a change, and the router takes changes from its own pages alone; \
             router.cors_origins lists others by name"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn checked(given: &[(&'static str, &'static str)], origins: &[&str]) -> bool {
        let named = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers: HeaderMap = given.iter().map(named).collect();
        let origins: Vec<String> = origins.iter().map(|origin| (*origin).to_owned()).collect();
        check(&headers, &Uri::from_static("/"), &origins).is_ok()
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let json = ("content-type", "application/json; charset=utf-8");
        let host = ("host", "127.0.0.1:8000");
        assert!(checked(&[json, host], &[]), "no browser");
        assert!(checked(
            &[json, host, ("origin", "http://127.0.0.1:8000"), ("sec-fetch-site", "same-origin")],
            &[]
        ));
        for strange in [
            ("origin", "http://stranger.example"),
            ("origin", "http://127.0.0.1:9000"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!checked(&[json, host, strange], &[]), "{strange:?}");
            assert!(!checked(&[json, host, strange], &["*"]), "{strange:?}");
        }
        let listed = [json, host, ("origin", "http://board.example"), ("sec-fetch-site", "cross-site")];
        assert!(checked(&listed, &["http://board.example"]));
        for form in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
        {
            assert!(!checked(&[("content-type", form), host], &[]), "{form}");
        }
        assert!(!checked(&[host], &[]));
    }
}

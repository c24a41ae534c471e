//! How errors look: a status and `{"detail": "…"}`, and when to come back where that helps.

use std::{error::Error as _, time::Duration};

use axum::{
    extract::rejection::{FailedToBufferBody, PathRejection, StringRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Json, Response},
};
use tower_http::timeout::TimeoutError;

use super::{
    answers::ErrorAnswer,
    limits::{BODY_BYTES_MAX, BODY_TIME_MAX},
};
use crate::{
    error::{QueryError, invalid_parameter},
    snapshot::NotServed,
    words::Words,
};

/// When a client should come back after a 503.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error as a client sees it.
#[derive(Debug)]
pub(super) struct HttpError {
    status: StatusCode,
    detail: String,
    retry_after: Option<Duration>,
}

impl HttpError {
    pub(super) fn invalid(parameter: &str, reason: &str) -> Self {
        Self::bad_request(invalid_parameter(parameter, reason))
    }

    pub(super) fn bad_request(detail: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail, retry_after: None }
    }

    pub(super) fn of(status: StatusCode, detail: String) -> Self {
        Self { status, detail, retry_after: None }
    }

    /// A body that is longer than any.
    pub(super) fn too_large() -> Self {
        let detail = format!(
            "the body is larger than {BODY_BYTES_MAX} bytes; ask for less at once, in several requests"
        );
        Self::of(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// A body that is packed.
    pub(super) fn encoded() -> Self {
        let detail = "the body is packed, which is not read; send it without Content-Encoding".to_owned();
        Self::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    pub(super) fn not_found(detail: String) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail, retry_after: None }
    }

    pub(super) fn wrong_method(detail: String) -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, detail, retry_after: None }
    }

    /// What is needed to answer is not known yet.
    pub(super) fn not_yet(detail: String) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, detail, retry_after: Some(RETRY_AFTER) }
    }

    /// What is said.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Too much of this is under way.
    pub(super) fn busy(detail: String) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, detail, retry_after: Some(RETRY_AFTER) }
    }

    /// A request that is addressed to a name that is not this service's.
    pub(super) fn wrong_host(detail: String) -> Self {
        Self { status: StatusCode::MISDIRECTED_REQUEST, detail, retry_after: None }
    }

    /// A query without an answer, in the words of the face that asked.
    pub(super) fn of_query(error: &QueryError, words: &Words) -> Self {
        let (status, retry_after) = match error {
            QueryError::Invalid { .. } | QueryError::Unsupported { .. } => (StatusCode::BAD_REQUEST, None),
            QueryError::NotServed(NotServed::VersionGone(_)) => (StatusCode::GONE, None),
            QueryError::UnknownItem(_) | QueryError::UnknownUser(_) => (StatusCode::NOT_FOUND, None),
            QueryError::NotServed(_) | QueryError::Unavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(RETRY_AFTER))
            }
            QueryError::Timeout => (StatusCode::GATEWAY_TIMEOUT, Some(RETRY_AFTER)),
            QueryError::Overloaded { retry_after } | QueryError::TokenExhausted { retry_after } => {
                (StatusCode::TOO_MANY_REQUESTS, Some(*retry_after))
            }
        };
        Self { status, detail: error.text(words), retry_after }
    }

    /// A handler that panicked.
    pub(super) fn defect() -> Self {
        let detail = "the request failed unexpectedly: this is a defect, please report it with the log";
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, detail: detail.to_owned(), retry_after: None }
    }

    /// An id in the path that is not text.
    pub(super) fn path(rejection: &PathRejection) -> Self {
        let reason = match rejection {
            PathRejection::FailedToDeserializePathParams(_) => {
                "it is not UTF-8; write each byte of its UTF-8 form as %XX".to_owned()
            }
            other => other.body_text(),
        };
        Self {
            status: rejection.status(),
            ..Self::bad_request(format!("the id in the path cannot be read: {reason}"))
        }
    }

    /// A body that cannot be read, is too large or does not arrive.
    pub(super) fn body(rejection: &StringRejection) -> Self {
        let (status, detail) = match rejection {
            StringRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "the body is larger than {BODY_BYTES_MAX} bytes; ask for less at once, in several requests"
                ),
            ),
            StringRejection::FailedToBufferBody(error) if is_late(error) => (
                StatusCode::REQUEST_TIMEOUT,
                format!(
                    "the body did not arrive within {} seconds; send the request again",
                    BODY_TIME_MAX.as_secs()
                ),
            ),
            StringRejection::InvalidUtf8(_) => {
                (StatusCode::BAD_REQUEST, "the body is not UTF-8, as JSON has to be".to_owned())
            }
            other => (other.status(), format!("the body cannot be read: {}", other.body_text())),
        };
        Self { status, ..Self::bad_request(detail) }
    }
}

/// Whether the time for a body was over.
fn is_late(error: &FailedToBufferBody) -> bool {
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.any(|cause| cause.is::<TimeoutError>())
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorAnswer { detail: self.detail })).into_response();
        if let Some(retry_after) = self.retry_after {
            // Whole seconds, rounded up: zero would invite a storm.
            let seconds = retry_after.as_millis().div_ceil(1_000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}

//! Reasons that are too long to travel: their beginning and their end are kept, and between the two stands how much was
//! left out.
//!
//! A gRPC status travels in a header, and a peer ends a call whose headers are longer than it takes (16 KiB with
//! hyper): its caller then hears of a protocol error only. So every server of the cluster cuts the messages of
//! statuses here, whoever made them.
//!
//! The library calls a request that cannot be decoded an INTERNAL error, which alarms take for the server's fault. Here
//! it becomes the caller's.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, combinators::MapFrame};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use tonic::body::Body;

/// The longest message of a status, in bytes as they travel: a header of 8 KiB passes every proxy.
pub const REASON_BYTES_MAX: usize = 6 * 1024;

/// The header of a status's message.
const MESSAGE_KEY: &str = "grpc-message";

/// The header of a status's code, and two codes as it has them.
const STATUS_KEY: &str = "grpc-status";
const INTERNAL: &str = "13";
const INVALID_ARGUMENT: &str = "3";

/// How the library says that a message cannot be decoded.
const UNDECODED: &str = "failed to decode Protobuf message";

/// What is escaped in that header; gRPC asks for less.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b',')
    .remove(b':')
    .remove(b';')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'/')
    .remove(b'=')
    .remove(b' ');

/// A body whose trailers are bounded.
pub(super) type BoundedBody = MapFrame<Body, fn(Frame<Bytes>) -> Frame<Bytes>>;

/// The text if it has at most `bytes_max` bytes; else its beginning and its end, with the number of characters that
/// were left out between them, in at most so many bytes.
#[must_use]
pub fn shortened(text: &str, bytes_max: usize) -> Cow<'_, str> {
    shortened_by(text, bytes_max, char::len_utf8)
}

/// The same where a character takes `cost` bytes.
fn shortened_by(text: &str, bytes_max: usize, cost: impl Fn(char) -> usize) -> Cow<'_, str> {
    if text.chars().map(&cost).sum::<usize>() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let notice = |left_out: usize| format!("… ({left_out} characters left out) …");
    let of_notice: usize = notice(text.len()).chars().map(&cost).sum();
    let room = bytes_max.saturating_sub(of_notice);
    let fitting = |chars: &mut dyn Iterator<Item = char>, mut room: usize| -> usize {
        let fits = |letter: &char| {
            let cost = cost(*letter);
            let fits = cost <= room;
            room = room.saturating_sub(cost);
            fits
        };
        chars.take_while(fits).map(char::len_utf8).sum()
    };
    // A sentence says at its beginning what was done and at its end what to do.
    let beginning = fitting(&mut text.chars(), room - room / 2);
    let end = text.len() - fitting(&mut text[beginning..].chars().rev(), room / 2);
    let left_out = notice(text[beginning..end].chars().count());
    Cow::Owned([&text[..beginning], &left_out, &text[end..]].concat())
}

/// A response whose status has a message that can travel, wherever in the response that is.
pub(super) fn bounded(response: Response<Body>) -> Response<BoundedBody> {
    let (mut parts, body) = response.into_parts();
    blame_caller(&mut parts.headers);
    bound_message(&mut parts.headers);
    Response::from_parts(parts, body.map_frame(bounded_trailers))
}

fn bounded_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            blame_caller(&mut trailers);
            bound_message(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// A request that cannot be decoded is an INVALID_ARGUMENT.
fn blame_caller(headers: &mut HeaderMap) {
    let is_internal = headers.get(STATUS_KEY).is_some_and(|status| status == INTERNAL);
    let message = headers.get(MESSAGE_KEY).map(|message| percent_decode(message.as_bytes()));
    let is_undecoded = message
        .is_some_and(|message| message.decode_utf8().is_ok_and(|message| message.starts_with(UNDECODED)));
    if is_internal && is_undecoded {
        headers.insert(STATUS_KEY, HeaderValue::from_static(INVALID_ARGUMENT));
    }
}

fn bound_message(headers: &mut HeaderMap) {
    let Some(message) = headers.get(MESSAGE_KEY).filter(|message| message.len() > REASON_BYTES_MAX) else {
        return;
    };
    let text = percent_decode(message.as_bytes()).decode_utf8_lossy();
    let cost =
        |letter: char| utf8_percent_encode(letter.encode_utf8(&mut [0; 4]), ESCAPED).map(str::len).sum();
    let text = shortened_by(&text, REASON_BYTES_MAX, cost);
    let escaped = utf8_percent_encode(&text, ESCAPED).to_string();
    // Escaped text is visible ASCII and spaces, which a header takes.
    if let Ok(value) = HeaderValue::from_str(&escaped) {
        headers.insert(MESSAGE_KEY, value);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use proptest::prelude::*;
    use prost::Message as _;
    use tonic::Status;

    use super::*;

    /// The message of a status in these headers.
    fn message(headers: &HeaderMap) -> String {
        Status::from_header_map(headers).unwrap().message().to_owned()
    }

    #[tokio::test]
    async fn a_status_is_bounded_in_headers_and_in_trailers() {
        let reason = format!("column 'a' {} name them with --user-col", "is not known, ".repeat(100_000));
        let mut headers = HeaderMap::new();
        Status::invalid_argument(&reason).add_header(&mut headers).unwrap();
        let trailers = headers.clone();
        let body = Full::new(Bytes::from_static(b"some rows")).with_trailers(async { Some(Ok(trailers)) });
        let mut response = Response::new(Body::new(body));
        *response.headers_mut() = headers;
        let (parts, body) = bounded(response).into_parts();
        let body = body.collect().await.unwrap();
        for headers in [&parts.headers, body.trailers().unwrap()] {
            let message = message(headers);
            assert!(
                message.starts_with("column 'a' is not known, ") && message.len() < REASON_BYTES_MAX,
                "{message}"
            );
            assert!(
                message.contains(" characters left out) …") && message.ends_with("name them with --user-col")
            );
            assert_eq!(Status::from_header_map(headers).unwrap().code(), tonic::Code::InvalidArgument);
        }
        assert_eq!(body.to_bytes(), "some rows");
    }

    #[test]
    fn a_request_that_cannot_be_decoded_is_the_callers_fault() {
        let code = |status: Status| {
            let mut headers = HeaderMap::new();
            status.add_header(&mut headers).unwrap();
            blame_caller(&mut headers);
            Status::from_header_map(&headers).unwrap().code()
        };
        let undecoded = shoal_proto::v1::JobRequest::decode(&b"\x0a\xff"[..]).unwrap_err().to_string();
        assert_eq!(code(Status::internal(&undecoded)), tonic::Code::InvalidArgument);
        assert_eq!(code(Status::unavailable(undecoded)), tonic::Code::Unavailable);
        assert_eq!(code(Status::internal("a bug")), tonic::Code::Internal);
    }

    proptest! {
        #[test]
        fn what_is_shortened_has_both_ends_and_says_how_much_is_missing(
            text in "\\PC{0,300}", bytes_max in 60_usize..400,
        ) {
            let short = shortened(&text, bytes_max);
            prop_assert!(short.len() <= bytes_max);
            if text.len() <= bytes_max {
                prop_assert_eq!(&*short, &*text);
                return Ok(());
            }
            let (beginning, rest) = short.split_once("… (").unwrap();
            let (count, end) = rest.split_once(" characters left out) …").unwrap();
            prop_assert!(text.starts_with(beginning) && text.ends_with(end));
            let kept = beginning.chars().count() + end.chars().count();
            prop_assert_eq!(count.parse::<usize>().unwrap() + kept, text.chars().count());
            // A character more of either end would not fit.
            prop_assert!(bytes_max - short.len() < 14, "{} of {}", short.len(), bytes_max);
        }

        #[test]
        fn a_message_is_cut_to_what_travels(text in "[a-zé %\n\u{1F41F}]{0,9000}") {
            let mut headers = HeaderMap::new();
            Status::internal(text.clone()).add_header(&mut headers).unwrap();
            bound_message(&mut headers);
            prop_assert!(headers[MESSAGE_KEY].len() <= REASON_BYTES_MAX);
            let status = Status::from_header_map(&headers).unwrap();
            let Some((beginning, rest)) = status.message().split_once("… (") else {
                prop_assert_eq!(status.message(), text);
                return Ok(());
            };
            let (_, end) = rest.split_once(" characters left out) …").unwrap();
            prop_assert!(text.starts_with(beginning) && text.ends_with(end));
            prop_assert!(beginning.len() + end.len() > REASON_BYTES_MAX / 12);
        }
    }
}

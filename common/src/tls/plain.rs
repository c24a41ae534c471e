//! Callers that speak HTTP without TLS where TLS is spoken: they are told so in their own protocol, and the connection is closed.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::net::Connection;

/// What such a caller is told.
const REMEDY: &str = "this port speaks TLS: use https://, or certificates (--certs) where a node is called";

/// The beginning of what an HTTP/2 client says first; no method is called so.
const HTTP2: &[u8; 3] = b"PRI";

/// Bytes of the whole of it.
const PREFACE_BYTES: usize = 24;

/// Frames of HTTP/2 (RFC 9113, 6.2 and 6.5).
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// Frames that a client may send before its first call.
const FRAMES_MAX: usize = 16;

/// How long a caller that was told may go on sending.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes of what a caller goes on sending that are read, so that the answer is not lost.
const LINGER_BYTES_MAX: u64 = 64 * 1024;

/// Answers a caller that begins as HTTP does, with the name of a method; the failure to go on with, for others nothing.
///
/// # Errors
/// When the connection breaks before.
pub(super) async fn refuse(stream: &mut Connection) -> io::Result<Option<io::Error>> {
    // A record of TLS begins with a number below 32.
    if !stream.first_byte().await?.is_some_and(|byte| byte.is_ascii_uppercase()) {
        return Ok(None);
    }
    let mut begun = [0; HTTP2.len()];
    stream.read_exact(&mut begun).await?;
    if &begun == HTTP2 {
        stream.write_all(&frame(SETTINGS, &[])).await?;
        // A call that is under way hears the reason; before the first one nobody listens for it.
        let _ = timeout(LINGER, first_call(stream)).await;
        stream.write_all(&http2_refusal()).await?;
    } else {
        stream.write_all(&http1_refusal()).await?;
    }
    stream.shutdown().await?;
    // The system takes an answer back that is closed upon while something is unread.
    let mut rest = (&mut *stream as &mut (dyn AsyncRead + Unpin + Send)).take(LINGER_BYTES_MAX);
    let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Ok(Some(io::Error::new(io::ErrorKind::InvalidData, "the caller speaks HTTP without TLS")))
}

fn http1_refusal() -> Vec<u8> {
    let body = serde_json::json!({ "detail": REMEDY }).to_string();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads on until the client's first call has begun.
async fn first_call(stream: &mut Connection) -> io::Result<()> {
    stream.read_exact(&mut [0; PREFACE_BYTES - HTTP2.len()]).await?;
    for _ in 0..FRAMES_MAX {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await?;
        if header[3] == HEADERS {
            return Ok(());
        }
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = (&mut *stream as &mut (dyn AsyncRead + Unpin + Send)).take(u64::from(length));
        tokio::io::copy(&mut payload, &mut tokio::io::sink()).await?;
    }
    Ok(())
}

/// The end of the connection with a reason (RFC 9113, 6.8).
fn http2_refusal() -> Vec<u8> {
    const GOAWAY: u8 = 7;
    const INADEQUATE_SECURITY: u32 = 12;
    let last_stream = 0_u32.to_be_bytes();
    frame(GOAWAY, &[&last_stream[..], &INADEQUATE_SECURITY.to_be_bytes(), REMEDY.as_bytes()].concat())
}

/// A frame of the connection itself.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let header = [length[1], length[2], length[3], kind, 0, 0, 0, 0, 0];
    [&header[..], payload].concat()
}

/// Whether a connection failed because the other end does not speak TLS.
#[must_use]
pub fn does_not_speak_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = within.and_then(|within| within.downcast_ref()).or_else(|| error.downcast_ref());
        if matches!(tls, Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))) {
            return true;
        }
        // The cause that stands within one of the system's errors is passed over by its `source`.
        next = match within {
            Some(within) => Some(within as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    false
}

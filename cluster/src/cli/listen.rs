//! Addresses to listen on, as people write them.

use std::net::{Ipv4Addr, SocketAddr};

/// Reads `IP:PORT`, or a port alone for the loopback address.
///
/// # Errors
/// A sentence with an example.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        "an address is an IP and a port, as 127.0.0.1:8000 or 0.0.0.0:8000; a port alone means 127.0.0.1"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback_address() {
        for (text, expected) in [
            ("8840", "127.0.0.1:8840"),
            (":8840", "127.0.0.1:8840"),
            ("localhost:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(listen_address(text).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for wrong in ["", "nonsense", "127.0.0.1", "70000", "a:b"] {
            assert!(listen_address(wrong).unwrap_err().contains("127.0.0.1:8000"), "{wrong}");
        }
    }
}

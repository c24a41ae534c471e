//! Ports for the children of a local cluster.
//!
//! A port is chosen by binding it and letting it go, so another process may take it before the child
//! does. That is made unlikely by staying below the range from which systems pick ports by
//! themselves, and by starting the search at another place for each cluster folder.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

use super::LocalError;

const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

/// Hands out free ports, none twice.
#[derive(Debug)]
pub(super) struct Ports {
    next: u16,
    given: HashSet<u16>,
}

impl Ports {
    pub(super) fn new() -> Self {
        // Any start will do; a different one each time keeps clusters started together apart.
        let offset = RandomState::new().hash_one(0) % u64::from(LAST - FIRST);
        Self { next: FIRST + offset as u16, given: HashSet::new() }
    }

    /// The remembered address if nobody else uses it, else a free one on the loopback address.
    pub(super) fn keep_or_choose(
        &mut self,
        remembered: Option<SocketAddr>,
    ) -> Result<SocketAddr, LocalError> {
        self.keep_or_choose_on(Ipv4Addr::LOCALHOST.into(), remembered)
    }

    /// As [`Ports::keep_or_choose`], on another address of this machine.
    pub(super) fn keep_or_choose_on(
        &mut self,
        ip: IpAddr,
        remembered: Option<SocketAddr>,
    ) -> Result<SocketAddr, LocalError> {
        if let Some(address) = remembered
            && !self.given.contains(&address.port())
            && is_free(address)
        {
            self.given.insert(address.port());
            return Ok(address);
        }
        for _ in FIRST..=LAST {
            let port = self.next;
            self.next = if port == LAST { FIRST } else { port + 1 };
            let address = SocketAddr::new(ip, port);
            if !self.given.contains(&port) && is_free(address) {
                self.given.insert(port);
                return Ok(address);
            }
        }
        Err(LocalError::Ports { first: FIRST, last: LAST })
    }
}

fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

/// Refuses an address for HTTP that cannot be listened on, before anything is started.
pub(super) fn check_http(address: SocketAddr) -> Result<(), LocalError> {
    TcpListener::bind(address).map(drop).map_err(|source| {
        let mut suggestion = address;
        suggestion.set_port(address.port().checked_add(1).unwrap_or(8_001));
        LocalError::Http { address, suggestion, source }
    })
}

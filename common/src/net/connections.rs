//! How many connections a listener keeps, and how long one may be silent or leave unread what it is sent.
//!
//! A connection costs a descriptor and memory before it has said anything. So they are counted, in all and for each
//! address; who says nothing is closed after seconds, and at once when another needs its place. What wraps a socket here
//! wraps it below TLS: nothing above can forget to count.

use std::{
    collections::{BTreeSet, HashMap},
    future::poll_fn,
    io::{self, IoSlice},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::log_limit::LogLimit;

/// What an HTTP/2 client says first. Whoever says something else speaks another protocol, which begins at once.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Lines in the log about connections that were refused.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// One address may have this part of all connections: whatever it does, others still find a place.
const PER_ADDRESS: (usize, usize) = (3, 4);

/// Limits of the connections of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at once, from all addresses together.
    pub total: usize,
    /// Connections at once of one address; of IPv6, of one network of 64 bits.
    pub per_address: usize,
    /// How long a client may take to say which protocol it speaks.
    pub first_bytes: Duration,
    /// How long a client may leave unread what it is sent.
    pub unread: Duration,
    /// How long nothing may be sent and nothing received; `None` where pings do that.
    pub idle: Option<Duration>,
}

impl ConnectionLimits {
    /// Limits for so many connections in all.
    #[must_use]
    pub fn of(total: usize) -> Self {
        let total = total.max(1);
        Self {
            total,
            per_address: (total * PER_ADDRESS.0 / PER_ADDRESS.1).max(1),
            first_bytes: Duration::from_secs(10),
            unread: Duration::from_secs(30),
            idle: None,
        }
    }

    /// The same limits, and an end to connections on which nothing happens.
    #[must_use]
    pub fn with_idle(self, idle: Duration) -> Self {
        Self { idle: Some(idle), ..self }
    }
}

/// The connections of a listener. Clones share them.
#[derive(Debug, Clone)]
pub struct Connections {
    limits: ConnectionLimits,
    open: Arc<Mutex<Open>>,
    log: Arc<LogLimit>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    count: usize,
    /// Those that have said nothing yet, the oldest first.
    silent: BTreeSet<u64>,
    /// Of every connection: whose it is, and what closes it.
    places: HashMap<u64, (IpAddr, CancellationToken)>,
    addresses: HashMap<IpAddr, OfAddress>,
}

#[derive(Debug, Default)]
struct OfAddress {
    count: usize,
    silent: BTreeSet<u64>,
}

impl Open {
    /// Closes the oldest connection that has said nothing, of one address or of all; whether there was one.
    fn evict(&mut self, address: Option<IpAddr>) -> bool {
        let silent = match address {
            Some(address) => self.addresses.get(&address).and_then(|of| of.silent.first()),
            None => self.silent.first(),
        };
        let Some(number) = silent.copied() else { return false };
        let Some((address, evicted)) = self.places.get(&number).cloned() else { return false };
        evicted.cancel();
        // It is closed when its task runs; its place is free from now on.
        self.remove(number, address);
        true
    }

    fn prove(&mut self, number: u64, address: IpAddr) {
        self.silent.remove(&number);
        if let Some(of) = self.addresses.get_mut(&address) {
            of.silent.remove(&number);
        }
    }

    /// Frees a place, unless it was freed before.
    fn remove(&mut self, number: u64, address: IpAddr) {
        if self.places.remove(&number).is_none() {
            return;
        }
        self.count -= 1;
        self.prove(number, address);
        if let Some(of) = self.addresses.get_mut(&address) {
            of.count -= 1;
            if of.count == 0 {
                self.addresses.remove(&address);
            }
        }
    }
}

impl Connections {
    /// Counts connections within these limits.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Self {
        Self { limits, open: Arc::default(), log: Arc::new(LogLimit::new(LOG_EVERY)) }
    }

    /// Takes a connection that was accepted. Where there is no room the oldest that has said nothing makes place; where all
    /// have spoken the new one is closed, and `None` says so.
    #[must_use]
    pub fn admit(&self, stream: TcpStream) -> Option<Connection> {
        let address = network_of(stream.peer_addr().ok()?.ip());
        let place = self.place(address)?;
        // An answer is one small write: waiting for more would only delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set nodelay");
        }
        let now = Instant::now();
        Some(Connection {
            stream,
            patience: Box::pin(sleep_until(now + self.limits.first_bytes)),
            unread: None,
            last: now,
            matched: Some(0),
            is_within: false,
            place,
        })
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        let mut open = lock(&self.open);
        let of_address = open.addresses.get(&address).map_or(0, |of| of.count);
        let has_room = (of_address < self.limits.per_address || open.evict(Some(address)))
            && (open.count < self.limits.total || open.evict(None));
        if !has_room {
            let count = open.count;
            drop(open);
            metrics::counter!("shoal_connections_refused_total").increment(1);
            if let Some(more) = self.log.pass() {
                tracing::warn!(%address, count, of_address, more, "connections are refused: there are as many as there may be");
            }
            return None;
        }
        let number = open.next;
        open.next += 1;
        open.count += 1;
        open.silent.insert(number);
        let of = open.addresses.entry(address).or_default();
        of.count += 1;
        of.silent.insert(number);
        let evicted = CancellationToken::new();
        open.places.insert(number, (address, evicted.clone()));
        let evicted = Box::pin(evicted.cancelled_owned());
        Some(Place { number, address, evicted, limits: self.limits, open: Arc::clone(&self.open) })
    }

    /// The connections that a listener accepts, each within the limits. A failure to accept is logged and passes.
    pub fn accept(
        self,
        listener: TcpListener,
    ) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
        stream::unfold((self, listener), |(connections, listener)| async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        if let Some(connection) = connections.admit(stream) {
                            return Some((Ok(connection), (connections, listener)));
                        }
                    }
                    Err(error) if is_of_the_connection(&error) => {}
                    Err(error) => {
                        if let Some(more) = connections.log.pass() {
                            tracing::warn!(%error, more, "cannot accept a connection");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        })
    }

    /// Connections that are open.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.open).count
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one address: whoever has one of IPv6 has the whole network of it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// Whether only this connection failed, before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// A connection's place among the others; it is free again when this is dropped.
#[derive(Debug)]
struct Place {
    number: u64,
    address: IpAddr,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
    limits: ConnectionLimits,
    open: Arc<Mutex<Open>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.open).remove(self.number, self.address);
    }
}

/// A socket that is counted, and that fails when its client is silent for too long.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// When to look whether the client has been silent for too long.
    patience: Pin<Box<Sleep>>,
    /// Until when what is to be sent has to be taken, while it is not.
    unread: Option<Pin<Box<Sleep>>>,
    /// When something was sent or received last.
    last: Instant,
    /// Bytes of the preface so far; `None` once the protocol is known.
    matched: Option<usize>,
    /// Whether the protocol is said under TLS.
    is_within: bool,
    place: Place,
}

impl Connection {
    /// Where the client is.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// The first byte that the client says, which is still there to be read; none when it says nothing any more.
    pub(crate) async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let seen = poll_fn(|cx| {
            let mut buf = ReadBuf::new(&mut byte);
            match self.stream.poll_peek(cx, &mut buf) {
                Poll::Pending => self.poll_silence(cx).map(Err),
                seen => seen,
            }
        });
        Ok((seen.await? > 0).then_some(byte[0]))
    }

    /// From now on the bytes are those of TLS: which protocol is spoken is said within, and told by
    /// [`Connection::hear_protocol`].
    pub(crate) fn expect_protocol_within(&mut self) {
        self.is_within = true;
    }

    /// Notes what the client has said.
    fn hear(&mut self, bytes: &[u8]) {
        self.last = Instant::now();
        if !self.is_within {
            self.hear_protocol(bytes);
        }
    }

    /// Notes what the client has said of its protocol.
    pub(crate) fn hear_protocol(&mut self, bytes: &[u8]) {
        let Some(matched) = self.matched else { return };
        let expected = &PREFACE[matched..];
        let length = bytes.len().min(expected.len());
        let is_preface = bytes[..length] == expected[..length];
        if is_preface && matched + length < PREFACE.len() {
            self.matched = Some(matched + length);
            return;
        }
        self.matched = None;
        lock(&self.place.open).prove(self.place.number, self.place.address);
        if let Some(idle) = self.place.limits.idle {
            self.patience.as_mut().reset(self.last + idle);
        }
    }

    /// Waits for the client's silence to be too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.matched.is_some() {
            let evicted =
                || io::Error::new(io::ErrorKind::ConnectionAborted, "another connection needs the place");
            if self.place.evicted.as_mut().poll(cx).is_ready() {
                metrics::counter!("shoal_connections_evicted_total").increment(1);
                return Poll::Ready(evicted());
            }
            ready!(self.patience.as_mut().poll(cx));
            return Poll::Ready(timed_out("the client does not say which protocol it speaks"));
        }
        let Some(idle) = self.place.limits.idle else { return Poll::Pending };
        loop {
            ready!(self.patience.as_mut().poll(cx));
            let until = self.last + idle;
            if until <= Instant::now() {
                return Poll::Ready(timed_out("nothing was sent or received for too long"));
            }
            self.patience.as_mut().reset(until);
        }
    }

    /// What came of an attempt to send.
    fn sent<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.last = Instant::now();
            self.unread = None;
            return outcome;
        }
        let limit = self.place.limits.unread;
        let until = self.unread.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(timed_out("the client does not take what it is sent")))
    }
}

fn timed_out(reason: &'static str) -> io::Error {
    metrics::counter!("shoal_connections_timed_out_total").increment(1);
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                this.hear(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => this.poll_silence(cx).map(Err),
            failed => failed,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.sent(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.sent(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn listener() -> (TcpListener, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A client's end, and the connection as it is admitted.
    async fn pair(connections: &Connections) -> (TcpStream, Option<Connection>) {
        let (listener, address) = listener().await;
        let client = TcpStream::connect(address).await.unwrap();
        (client, connections.admit(listener.accept().await.unwrap().0))
    }

    fn limits(total: usize, per_address: usize) -> ConnectionLimits {
        ConnectionLimits { per_address, ..ConnectionLimits::of(total) }
    }

    #[tokio::test]
    async fn who_says_nothing_makes_place_for_another() {
        for limits in [limits(2, 2), limits(9, 2)] {
            let connections = Connections::new(limits);
            let (mut first, spoken) = pair(&connections).await;
            let mut spoken = spoken.unwrap();
            first.write_all(b"G").await.unwrap();
            spoken.read_exact(&mut [0]).await.unwrap();
            let (_second, silent) = pair(&connections).await;
            let mut silent = silent.unwrap();
            let (mut third, newest) = pair(&connections).await;
            assert!(newest.is_some());
            let closed = silent.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(closed.kind(), io::ErrorKind::ConnectionAborted);
            drop(silent);
            assert_eq!(connections.count(), 2);
            // Where all have spoken nobody has to go.
            let mut newest = newest.unwrap();
            third.write_all(b"G").await.unwrap();
            newest.read_exact(&mut [0]).await.unwrap();
            assert!(pair(&connections).await.1.is_none());
            drop(newest);
            assert!(pair(&connections).await.1.is_some());
            assert_eq!(connections.count(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_protocol_is_said_in_time() {
        for (said, is_known) in [
            (&b""[..], false),
            (&PREFACE[..23], false),
            (PREFACE, true),
            (b"GET ", true),
            (b"PRI x", true),
            (b"\x16\x03", true),
        ] {
            let connections = Connections::new(ConnectionLimits::of(8));
            let (mut client, connection) = pair(&connections).await;
            let mut connection = connection.unwrap();
            client.write_all(said).await.unwrap();
            connection.read_exact(&mut vec![0; said.len()]).await.unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(60), connection.read(&mut [0; 8])).await;
            match heard {
                Err(_) => assert!(is_known, "{said:?}"),
                Ok(outcome) => {
                    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut, "{said:?}");
                    assert!(!is_known, "{said:?}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_and_who_does_nothing_is_left() {
        let connections = Connections::new(ConnectionLimits::of(8).with_idle(Duration::from_secs(100)));
        let (mut client, connection) = pair(&connections).await;
        let mut connection = connection.unwrap();
        client.write_all(b"GET").await.unwrap();
        connection.read_exact(&mut [0; 3]).await.unwrap();
        let begun = Instant::now();
        for later in [99, 198] {
            tokio::time::sleep_until(begun + Duration::from_secs(later)).await;
            client.write_all(b"x").await.unwrap();
            connection.read_exact(&mut [0]).await.unwrap();
        }
        let idle = connection.read(&mut [0]).await.unwrap_err();
        assert_eq!((idle.kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, 298));

        let bytes = vec![0; 1 << 20];
        let unread = async {
            loop {
                connection.write_all(&bytes).await?;
            }
        };
        let unread: io::Result<()> = unread.await;
        assert_eq!(unread.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(client);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}

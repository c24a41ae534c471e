//! Connections between roles that run in one process: no socket is opened, so nobody else can call.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::Connect;
use crate::tls::PeerRole;

/// Bytes that a side may have written before the other one has read them: as much as a window of a stream.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Connections that wait to be accepted.
const WAITING_MAX: usize = 16;

/// The doors of the roles of this process, by the addresses that they call each other by. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct InProcess {
    doors: Arc<Mutex<HashMap<String, mpsc::Sender<DuplexStream>>>>,
}

impl InProcess {
    /// Opens a door at `address` (`host:port`, which names nothing outside of this process): the connections that come.
    /// A door that was there under this address is closed.
    pub fn listen(&self, address: &str) -> impl Stream<Item = io::Result<DuplexStream>> + use<> {
        let (door, coming) = mpsc::channel(WAITING_MAX);
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).insert(address.to_owned(), door);
        ReceiverStream::new(coming).map(Ok)
    }

    async fn connect(&self, uri: &Uri) -> io::Result<DuplexStream> {
        let refused = || {
            let message = format!("no role of this process listens at {uri}");
            io::Error::new(io::ErrorKind::ConnectionRefused, message)
        };
        let address = uri.authority().map(ToString::to_string).unwrap_or_default();
        let door = self.doors.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
        let (near, far) = tokio::io::duplex(BUFFER_BYTES);
        door.ok_or_else(refused)?.send(far).await.map_err(|_| refused())?;
        Ok(near)
    }
}

impl Connect for InProcess {
    fn connect_lazy(&self, endpoint: Endpoint, _callee: PeerRole) -> Channel {
        let doors = self.clone();
        endpoint.connect_with_connector_lazy(service_fn(move |uri: Uri| {
            let doors = doors.clone();
            async move { doors.connect(&uri).await.map(TokioIo::new) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_one_role_says_arrives_at_the_other_and_nowhere_else() {
        let doors = InProcess::default();
        let uri: Uri = "http://worker:1".parse().unwrap();
        assert_eq!(doors.connect(&uri).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let mut coming = std::pin::pin!(doors.listen("worker:1"));
        let mut near = doors.connect(&uri).await.unwrap();
        near.write_all(b"rows").await.unwrap();
        let mut far = coming.next().await.unwrap().unwrap();
        let mut heard = [0; 4];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"rows");
        doors.connect(&"http://worker:2".parse().unwrap()).await.unwrap_err();
    }
}

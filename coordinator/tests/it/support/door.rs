//! An address that outlives what listens there: a member that is started again keeps its address, and
//! no other process can take it meanwhile.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    sync::{Arc, Mutex},
};

use futures::{Stream, StreamExt as _};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Hands connections to whoever is behind it, and hangs up when nobody is.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    behind: Arc<Mutex<Option<mpsc::UnboundedSender<StdStream>>>>,
}

impl Door {
    /// On a free port of this machine.
    pub(crate) fn open() -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let behind: Arc<Mutex<Option<mpsc::UnboundedSender<StdStream>>>> = Arc::default();
        let taker = Arc::clone(&behind);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = stream.into_std().unwrap();
                if let Some(taker) = &*taker.lock().unwrap() {
                    // One who has gone hangs up.
                    let _ = taker.send(stream);
                }
            }
        });
        Self { address, behind }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The connections from now on, for a server in the runtime that polls them.
    pub(crate) fn enter(&self) -> impl Stream<Item = io::Result<TcpStream>> + Send + 'static {
        let (taker, streams) = mpsc::unbounded_channel();
        *self.behind.lock().unwrap() = Some(taker);
        UnboundedReceiverStream::new(streams).map(|stream| {
            stream.set_nodelay(true)?;
            TcpStream::from_std(stream)
        })
    }

    pub(crate) fn leave(&self) {
        *self.behind.lock().unwrap() = None;
    }
}

//! A relay of bytes that delays what a client sends, and delivers it after the client has given
//! up. It does not interpret the bytes, so they may be encrypted.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::{WAIT_LIMIT, wait_until};

/// A relay before one server. Its connections end with the test's runtime.
pub struct Relay {
    addr: SocketAddr,
    is_delaying: Arc<AtomicBool>,
    delayed: mpsc::UnboundedReceiver<DelayedMessage>,
}

/// The bytes that a client sent before it disconnected, and the connection to the server.
pub struct DelayedMessage {
    bytes: Vec<u8>,
    server: TcpStream,
}

impl Relay {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let is_delaying = Arc::new(AtomicBool::new(false));
        let (sender, delayed) = mpsc::unbounded_channel();
        let delays = Arc::clone(&is_delaying);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (delays, sender) = (Arc::clone(&delays), sender.clone());
                tokio::spawn(async move { relay(client, server, &delays, &sender).await });
            }
        });
        Self { addr, is_delaying, delayed }
    }

    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Delays what is sent from now on over the connection that is used next.
    pub fn delay_next(&self) {
        self.is_delaying.store(true, Ordering::SeqCst);
    }

    /// Waits until something that is delayed has arrived.
    pub async fn has_arrived(&self) {
        wait_until("nothing arrives", async || !self.is_delaying.load(Ordering::SeqCst)).await;
    }

    /// The bytes that were delayed, once the client has disconnected.
    pub async fn delayed_message(&mut self) -> DelayedMessage {
        tokio::time::timeout(WAIT_LIMIT, self.delayed.recv())
            .await
            .expect("the client disconnects")
            .unwrap()
    }
}

impl DelayedMessage {
    /// Delivers the bytes and waits until the server has processed them and closed the connection.
    pub async fn deliver(mut self) {
        assert!(!self.bytes.is_empty());
        self.server.write_all(&self.bytes).await.unwrap();
        let _ = self.server.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(WAIT_LIMIT, self.server.read_to_end(&mut answer))
            .await
            .expect("the server closes");
        assert!(!answer.is_empty(), "the server has answered");
    }
}

async fn relay(
    mut client: TcpStream,
    server: SocketAddr,
    is_delaying: &AtomicBool,
    delayed: &mpsc::UnboundedSender<DelayedMessage>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (mut sent, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            count = client.read(&mut sent) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                if is_delaying.swap(false, Ordering::SeqCst) {
                    let mut bytes = sent[..count].to_vec();
                    // Until the client disconnects, possibly without a Terminate message.
                    let _ = client.read_to_end(&mut bytes).await;
                    let _ = delayed.send(DelayedMessage { bytes, server });
                    return Ok(());
                }
                server.write_all(&sent[..count]).await?;
            }
            count = server.read(&mut answered) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                client.write_all(&answered[..count]).await?;
            }
        }
    }
}

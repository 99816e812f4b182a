//! One connection through the proxy.
//!
//! Requests are forwarded one at a time: the next one when the server has answered the previous one
//! with ReadyForQuery. Until then, what the client sends is queued. So every answer belongs to a
//! known request, and a fault applies to exactly one.

use std::{collections::VecDeque, io, ops::ControlFlow, sync::Arc};

use bytes::{Bytes, BytesMut};
use dsql_emulator::wire::{self, DbError, FirstMessage, Message, Status, WireStream, tag};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
};

use super::{
    Shared,
    fault::{Hook, HookAction, WireFault},
    request::{Chunk, Collector, Request},
};

/// Whether the connection continues.
type Flow = ControlFlow<()>;

const CONTINUE: io::Result<Flow> = Ok(ControlFlow::Continue(()));
const CLOSE: io::Result<Flow> = Ok(ControlFlow::Break(()));

/// What happens to the answer that is in progress.
enum Awaiting {
    /// It is forwarded to the client.
    Relay,
    /// The client gets this error and the ReadyForQuery of the answer; the rest is dropped.
    Replace(Message),
    /// It is forwarded when it is complete and the hook returns [`HookAction::Continue`].
    Hold(BytesMut, Hook),
    /// It is dropped, and the connection is closed.
    Lose,
}

struct Connection {
    shared: Arc<Shared>,
    client: WireStream<OwnedReadHalf>,
    server: WireStream<OwnedReadHalf>,
    to_client: Writer,
    to_server: Writer,
    collector: Collector,
    queue: VecDeque<Chunk>,
    awaiting: Option<Awaiting>,
    /// The transaction status that the server reported last.
    status: Status,
}

/// Serves one client until either side closes or a fault does.
pub(super) async fn serve(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect(shared.upstream).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut connection = Connection {
        to_client: Writer::spawn(to_client, shared.clone()),
        to_server: Writer::spawn(to_server, shared.clone()),
        shared,
        client: WireStream::new(from_client),
        server: WireStream::new(from_server),
        collector: Collector::default(),
        queue: VecDeque::new(),
        awaiting: None,
        status: Status::Idle,
    };
    let result = connection.run().await;
    // What was queued before the end is still written.
    connection.to_client.finish().await;
    connection.to_server.finish().await;
    result
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        if self.begin().await?.is_break() {
            return Ok(());
        }
        let mut client_is_open = true;
        loop {
            if self.dispatch().await?.is_break() {
                return Ok(());
            }
            if !client_is_open && self.queue.is_empty() {
                // The server handles what it has received, as for a client without a proxy.
                self.to_server.close();
            }
            tokio::select! {
                message = self.client.message(), if client_is_open => match message {
                    Ok(Some(message)) => self.on_client(message),
                    // A client that ends in the middle of a message is treated as closed; a server
                    // handles what arrived before.
                    Ok(None) | Err(_) => client_is_open = false,
                },
                message = self.server.message() => match message? {
                    Some(message) => if self.on_server(message).await?.is_break() {
                        return Ok(());
                    },
                    None => return Ok(()),
                },
            }
        }
    }

    /// Forwards what precedes the session: requests for encryption, and the startup message.
    async fn begin(&mut self) -> io::Result<Flow> {
        loop {
            let Some(first) = self.client.first_message().await? else { return CLOSE };
            match &first {
                FirstMessage::Tls | FirstMessage::Gssapi => {
                    self.to_server.send(first.frame());
                    let answer = self.server.read_byte().await?;
                    if answer != b'N' {
                        return Err(io::Error::new(
                            io::ErrorKind::Unsupported,
                            "the server accepts encryption, which the proxy cannot read",
                        ));
                    }
                    self.to_client.send(Bytes::from_static(b"N"));
                }
                FirstMessage::Cancel { .. } => {
                    self.to_server.send(first.frame());
                    // The server sends no answer and closes the connection.
                    let _ = self.server.read_byte().await;
                    return CLOSE;
                }
                FirstMessage::Startup(_) => {
                    let fault = self.shared.script().next_session();
                    if self.before_session(fault).await?.is_break() {
                        return CLOSE;
                    }
                    self.to_server.send(first.frame());
                    // Until the first ReadyForQuery.
                    self.awaiting = Some(Awaiting::Relay);
                    return CONTINUE;
                }
            }
        }
    }

    async fn before_session(&mut self, fault: Option<WireFault>) -> io::Result<Flow> {
        let Some(fault) = fault else { return CONTINUE };
        if let Some((sqlstate, message)) = fault.as_error() {
            let error = DbError::fatal(sqlstate, message).message();
            self.to_client.send(error.into_frame());
            return CLOSE;
        }
        match fault {
            WireFault::Delay(time) => tokio::time::sleep(time).await,
            WireFault::Before(hook) | WireFault::After(hook) => {
                if self.shared.call(hook).await == HookAction::Close {
                    return CLOSE;
                }
            }
            _ => return CLOSE,
        }
        CONTINUE
    }

    fn on_client(&mut self, message: Message) {
        match self.collector.push(message) {
            Some(Chunk::Immediate(bytes)) => self.to_server.send(bytes),
            Some(chunk) => self.queue.push_back(chunk),
            None => {}
        }
    }

    /// Forwards what is queued, up to the first request that must be answered.
    async fn dispatch(&mut self) -> io::Result<Flow> {
        while self.awaiting.is_none() {
            match self.queue.pop_front() {
                None => break,
                Some(Chunk::Immediate(bytes) | Chunk::Passive(bytes)) => self.to_server.send(bytes),
                Some(Chunk::Request(request)) => {
                    let fault = self.shared.on_request(&request, self.status == Status::Idle);
                    if self.forward(request, fault).await?.is_break() {
                        return CLOSE;
                    }
                }
            }
        }
        CONTINUE
    }

    async fn forward(&mut self, request: Request, fault: Option<WireFault>) -> io::Result<Flow> {
        let error = fault.as_ref().and_then(WireFault::as_error);
        if let Some((sqlstate, message)) = error {
            self.refuse(&request, DbError::new(sqlstate, message).message());
            return CONTINUE;
        }
        let awaiting = match fault {
            Some(WireFault::LostRequest) => return CLOSE,
            Some(WireFault::LostAnswer) => Awaiting::Lose,
            Some(WireFault::After(hook)) => Awaiting::Hold(BytesMut::new(), hook),
            Some(WireFault::Before(hook)) => match self.shared.call(hook).await {
                HookAction::Continue => Awaiting::Relay,
                HookAction::Close => return CLOSE,
            },
            Some(WireFault::Delay(time)) => {
                tokio::time::sleep(time).await;
                Awaiting::Relay
            }
            _ => Awaiting::Relay,
        };
        self.to_server.send(request.bytes);
        self.awaiting = Some(awaiting);
        CONTINUE
    }

    /// Answers `request` with `error` instead of the server, and brings the server into the state
    /// that this error would have left.
    fn refuse(&mut self, request: &Request, error: Message) {
        let instead = match self.status {
            Status::Idle => None,
            _ if request.ends_transaction() => Some("ROLLBACK"),
            // Any failure aborts a transaction.
            Status::InTransaction => Some("SELECT 1/0"),
            Status::Failed => None,
        };
        match instead {
            Some(sql) => {
                self.to_server.send(wire::query(sql).into_frame());
                self.awaiting = Some(Awaiting::Replace(error));
            }
            None => {
                self.to_client.send(error.into_frame());
                self.to_client.send(wire::ready_for_query(self.status).into_frame());
            }
        }
    }

    async fn on_server(&mut self, message: Message) -> io::Result<Flow> {
        let complete = message.tag() == tag::READY_FOR_QUERY;
        if complete {
            self.status = Status::read(&message).unwrap_or(Status::Idle);
        }
        match self.awaiting.take() {
            None => self.to_client.send(message.into_frame()),
            Some(Awaiting::Relay) => {
                self.to_client.send(message.into_frame());
                self.awaiting = (!complete).then_some(Awaiting::Relay);
            }
            Some(Awaiting::Replace(error)) if complete => {
                self.to_client.send(error.into_frame());
                self.to_client.send(message.into_frame());
            }
            Some(Awaiting::Replace(error)) => {
                // A rollback can also reset parameters, which the client must get.
                if message.tag() == tag::PARAMETER_STATUS {
                    self.to_client.send(message.into_frame());
                }
                self.awaiting = Some(Awaiting::Replace(error));
            }
            Some(Awaiting::Hold(mut answer, hook)) => {
                answer.extend_from_slice(message.frame());
                if !complete {
                    self.awaiting = Some(Awaiting::Hold(answer, hook));
                } else if self.shared.call(hook).await == HookAction::Close {
                    return CLOSE;
                } else {
                    self.to_client.send(answer.freeze());
                }
            }
            Some(Awaiting::Lose) if complete => return CLOSE,
            Some(Awaiting::Lose) => self.awaiting = Some(Awaiting::Lose),
        }
        CONTINUE
    }
}

/// The writing half of one side, in its own task: the proxy must read from a server while it writes
/// to it, or the two can deadlock.
struct Writer {
    queue: Option<mpsc::UnboundedSender<Bytes>>,
    task: JoinHandle<()>,
}

impl Writer {
    fn spawn(stream: OwnedWriteHalf, shared: Arc<Shared>) -> Self {
        let (queue, received) = mpsc::unbounded_channel();
        Self { queue: Some(queue), task: tokio::spawn(write_all(stream, received, shared)) }
    }

    /// Sends in order. Bytes for a closed side are dropped; its reader detects the end.
    fn send(&self, bytes: Bytes) {
        if let Some(queue) = &self.queue {
            let _ = queue.send(bytes);
        }
    }

    /// Closes when everything is written.
    fn close(&mut self) {
        drop(self.queue.take());
    }

    /// Closes, and waits until everything is written.
    async fn finish(&mut self) {
        self.close();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write_all(
    mut stream: impl AsyncWrite + Unpin,
    mut received: mpsc::UnboundedReceiver<Bytes>,
    shared: Arc<Shared>,
) {
    let mut bytes = BytesMut::new();
    while let Some(first) = received.recv().await {
        bytes.extend_from_slice(&first);
        while let Ok(more) = received.try_recv() {
            bytes.extend_from_slice(&more);
        }
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        shared.count_bytes(bytes.len());
        bytes.clear();
    }
    let _ = stream.shutdown().await;
}

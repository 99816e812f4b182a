//! The authentication of a client.

use super::{UpstreamError, scram::Scram};
use crate::wire::{Fields, Message, tag};

/// The authentication of one connection.
pub(crate) struct Login {
    password: String,
    scram: Option<Scram>,
}

impl Login {
    pub(crate) fn new(password: &str) -> Self {
        Self { password: password.to_owned(), scram: None }
    }

    /// The answer to an authentication message, if it needs one.
    ///
    /// # Errors
    /// The server requires another method, or its part of the exchange is wrong.
    pub(crate) fn answer(&mut self, message: &Message) -> Result<Option<Message>, UpstreamError> {
        let mut fields = Fields::new(message.payload_bytes());
        let kind = fields.i32().unwrap_or(-1);
        let data = fields.rest();
        let data = String::from_utf8_lossy(&data);
        let scram = self.scram.as_mut();
        let answer = match kind {
            0 => return Ok(None),
            3 => format!("{}\0", self.password).into_bytes(),
            10 if data.split('\0').any(|name| name == "SCRAM-SHA-256") => {
                let nonce = format!("{:032x}", fastrand::u128(..));
                let first = self.scram.insert(Scram::new(&self.password, nonce)).first();
                let length = i32::try_from(first.len()).unwrap_or(0).to_be_bytes();
                [b"SCRAM-SHA-256\0", &length[..], first.as_bytes()].concat()
            }
            11 => {
                let proof = scram.and_then(|scram| scram.prove(&data));
                proof.ok_or(UpstreamError::Protocol("a SCRAM challenge"))?.into_bytes()
            }
            12 if scram.is_some_and(|scram| scram.verify(&data)) => return Ok(None),
            12 => return Err(UpstreamError::Protocol("a SCRAM signature")),
            5 => return Err(UpstreamError::Authentication("md5".into())),
            other => return Err(UpstreamError::Authentication(other.to_string())),
        };
        Ok(Some(Message::new(tag::PASSWORD, &answer)))
    }
}

//! SCRAM-SHA-256, for a server given by URL that requires a password (RFC 5802, RFC 7677; without
//! channel binding).

use std::num::NonZeroU32;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{digest, hmac, pbkdf2};

/// The GS2 header: no channel binding.
const HEADER: &str = "n,,";

/// One SCRAM exchange.
pub(super) struct Scram {
    password: String,
    nonce: String,
    server_signature: Vec<u8>,
}

impl Scram {
    pub(super) fn new(password: &str, nonce: String) -> Self {
        Self { password: password.to_owned(), nonce, server_signature: Vec::new() }
    }

    fn first_bare(&self) -> String {
        // PostgreSQL takes the user from the startup message.
        format!("n=,r={}", self.nonce)
    }

    /// The client-first message.
    pub(super) fn first(&self) -> String {
        format!("{HEADER}{}", self.first_bare())
    }

    /// The client-final message, in answer to the server's challenge.
    pub(super) fn prove(&mut self, challenge: &str) -> Option<String> {
        let field = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name));
        let (nonce, salt) = (field("r=")?, STANDARD.decode(field("s=")?).ok()?);
        let rounds: NonZeroU32 = field("i=")?.parse().ok()?;
        if !nonce.starts_with(&self.nonce) {
            return None;
        }
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let password = self.password.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut salted);

        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(HEADER));
        let message = format!("{},{challenge},{without_proof}", self.first_bare());
        let signature = sign(stored_key.as_ref(), message.as_bytes());
        self.server_signature = sign(&sign(&salted, b"Server Key"), message.as_bytes());
        let proof: Vec<u8> =
            client_key.iter().zip(&signature).map(|(key, signed)| key ^ signed).collect();
        Some(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Verifies the server's signature.
    pub(super) fn verify(&self, last: &str) -> bool {
        last.strip_prefix("v=")
            .and_then(|signature| STANDARD.decode(signature).ok())
            .is_some_and(|signature| signature == self.server_signature)
    }
}

fn sign(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 §3, without the user name, which PostgreSQL leaves out. The proof differs from the
    /// RFC's; the test checks that both sides compute the same.
    #[test]
    fn a_server_signature_is_accepted_only_with_the_right_password() {
        let mut scram = Scram::new("pencil", "rOprNGfwEbeRWgbNEkqO".into());
        assert_eq!(scram.first(), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proof = scram.prove(challenge).unwrap();
        assert!(proof.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa,p="), "{proof}");
        let signature = STANDARD.encode(&scram.server_signature);
        assert!(scram.verify(&format!("v={signature}")));
        assert!(!scram.verify("v=AAAA"));
        assert!(!scram.verify("e=other-error"));
    }

    #[test]
    fn a_challenge_for_another_nonce_is_refused() {
        let mut scram = Scram::new("pencil", "mine".into());
        assert_eq!(scram.prove("r=yours,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), None);
        assert_eq!(scram.prove("nonsense"), None);
    }
}
